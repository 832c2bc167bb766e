//! The requests of clients for one target and their outcomes, on one clock.

use std::time::Duration;

use serde::Serialize;

/// A setting, as answers report it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Stored {
    /// Its generation.
    pub generation: i64,
    /// The desired count.
    pub count: i32,
}

/// A client's request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Sets a count. No count is set twice.
    Set {
        /// The count.
        count: i32,
    },
    /// Gets the setting.
    Get,
    /// Deletes the setting.
    Delete,
}

/// The outcome of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The Set was stored with this generation.
    Set {
        /// The generation.
        generation: i64,
    },
    /// Get returned this; `None` if the target is not managed.
    Got {
        /// The stored setting.
        stored: Option<Stored>,
    },
    /// The setting was deleted.
    Deleted,
    /// There was no setting to delete.
    NotManaged,
    /// Unknown: there was no answer, or the answer said so.
    Unknown,
}

/// A request and its outcome. Definite refusals are not recorded, because they change and reveal nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Operation {
    /// The request.
    #[serde(rename = "asked")]
    pub request: Request,
    /// When it was sent.
    pub begun: Duration,
    /// The outcome.
    #[serde(rename = "told")]
    pub outcome: Outcome,
    /// When the answer arrived.
    pub ended: Duration,
}

impl Operation {
    /// Whether its outcome is known.
    pub fn is_known(&self) -> bool {
        self.outcome != Outcome::Unknown
    }

    /// Whether it is known to have changed the setting.
    pub fn is_acknowledged_change(&self) -> bool {
        matches!(self.outcome, Outcome::Set { .. } | Outcome::Deleted)
    }
}
