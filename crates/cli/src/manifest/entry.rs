//! One desired count of a file.

use std::fmt::{self, Display};

use jiff::Timestamp;

use crate::target::Target;

/// Where an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: String,
    /// The line on which it begins.
    pub line: u64,
}

/// Whether drift is repaired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enforcement {
    /// It is.
    Enforce,
    /// It is not, until a time if there is one.
    Ignore(Option<Timestamp>),
}

/// A desired count, as a file has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it is.
    pub place: Place,
    /// The namespace.
    pub namespace: String,
    /// The workload.
    pub target: Target,
    /// The count, which holds for good.
    pub replicas: Option<i32>,
    /// A count that holds until a time.
    pub temporary: Option<(i32, Timestamp)>,
    /// Whether drift is repaired.
    pub enforcement: Enforcement,
    /// Why. `None`: the file does not say.
    pub reason: Option<String>,
}

impl Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}
