//! What is wrong with the file, and where.

use std::fmt;
use std::path::{Path, PathBuf};

use serde_saphyr::{Location, Spanned};

/// What is wrong with the file. The message is one line, and shows no secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    file: PathBuf,
    /// Line and column, from 1. `None`: the file as a whole.
    place: Option<(u64, u64)>,
    reason: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "--notify-config {}", self.file.display())?;
        if let Some((line, column)) = self.place {
            write!(formatter, ":{line}:{column}")?;
        }
        write!(formatter, ": {}", self.reason)
    }
}

impl ConfigError {
    /// About the file as a whole.
    pub(super) fn whole(file: &Path, reason: impl fmt::Display) -> Self {
        Self { file: file.to_owned(), place: None, reason: reason.to_string() }
    }

    /// About one value.
    pub(super) fn at<T>(file: &Path, value: &Spanned<T>, reason: impl fmt::Display) -> Self {
        Self { file: file.to_owned(), place: place(value.referenced), reason: reason.to_string() }
    }

    /// The file is not what it must be.
    pub(super) fn syntax(file: &Path, error: &serde_saphyr::Error) -> Self {
        let place = error.location().and_then(place);
        let mut reason = error.without_snippet().to_string().replace('\n', " ");
        if let Some((line, column)) = place {
            reason = reason.trim_end_matches(&format!(" at line {line}, column {column}")).to_owned();
        }
        Self { file: file.to_owned(), place, reason }
    }
}

fn place(location: Location) -> Option<(u64, u64)> {
    Some((location.line(), location.column())).filter(|(line, _)| *line > 0)
}
