//! Why a settings file is refused.

/// What is wrong with a settings file, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct SettingsFileError {
    /// The line, from 1.
    pub line: usize,
    /// The byte of the line at which parsing stopped, from 1; 0 is the start of the line.
    pub column: usize,
    /// What is wrong.
    pub message: String,
}
