//! The settings as text: what a person reads, edits and keeps in version control, and what survives a restart.
//!
//! A JSON array of `{"name", "namespace", "replicas"}`, one entry a line, with further keys only where a setting has
//! more to say: `generation` (when it is not 1), `enforcement` (when it is `ignore`), `enforcementUntil`, `setBy`,
//! `setAt` and `reason`. Times are those of RFC 3339. Whatever is not exactly that is refused with the place where it
//! stands, for a setting that is silently dropped or misread scales someone's Deployment to a wrong count.

mod parse;
mod render;
#[cfg(test)]
mod tests;
mod text;

pub use parse::parse;
pub use render::render;
pub use text::Text;

/// What is wrong with a settings file, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct SettingsFileError {
    /// The line, from 1.
    pub line: usize,
    /// The byte of the line at which reading ended, from 1; 0 is the line's very start.
    pub column: usize,
    /// What is wrong.
    pub message: String,
}
