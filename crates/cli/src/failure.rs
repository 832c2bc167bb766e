//! Why a command failed, and what to do next.

use std::fmt::{self, Display};
use std::process::ExitCode;

/// The exit status of a failure.
const FAILED: u8 = 1;
/// The exit status of a command line that is not valid.
const USAGE: u8 = 2;

/// Why a command failed. Shown as `error: MESSAGE`, and the advice on lines of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    message: String,
    advice: Option<String>,
    reason: String,
    status: u8,
}

impl Failure {
    /// A failure with exit status 1.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), advice: None, reason: String::new(), status: FAILED }
    }

    /// What was asked for makes no sense: exit status 2.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { status: USAGE, ..Self::new(message) }
    }

    /// Nothing is wrong, but the exit status says something.
    pub fn silent(status: u8) -> Self {
        Self { status, ..Self::new("") }
    }

    /// Says what to do next.
    #[must_use]
    pub fn advise(self, advice: impl Into<String>) -> Self {
        Self { advice: Some(advice.into()), ..self }
    }

    /// Remembers why the server refused it.
    #[must_use]
    pub fn with_reason(self, reason: String) -> Self {
        Self { reason, ..self }
    }

    /// Replaces the exit status.
    #[must_use]
    pub fn with_status(self, status: u8) -> Self {
        Self { status, ..self }
    }

    /// What went wrong, in one line.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to do next.
    pub fn advice(&self) -> Option<&str> {
        self.advice.as_deref()
    }

    /// The stable reason of the server. Empty: it has none, or it was not the server that refused.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// The exit status.
    pub fn status(&self) -> ExitCode {
        ExitCode::from(self.status)
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.advice.iter().try_for_each(|advice| write!(f, "\n{advice}"))
    }
}
