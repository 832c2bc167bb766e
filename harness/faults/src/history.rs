//! What clients asked of one target and what they were told, on one clock.

use std::time::Duration;

use serde::Serialize;

/// A setting, as answers show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Stored {
    /// Its generation.
    pub generation: i64,
    /// The desired count.
    pub count: i32,
}

/// What a client asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Asked {
    /// To desire a count. No count is asked for twice.
    Set {
        /// The count.
        count: i32,
    },
    /// To show the setting.
    Get,
    /// To forget the setting.
    Delete,
}

/// What it was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    /// A Set is stored, with this generation.
    Set {
        /// The generation.
        generation: i64,
    },
    /// This is stored; `None`: the target is not managed.
    Got {
        /// What is stored.
        stored: Option<Stored>,
    },
    /// The setting is forgotten.
    Deleted,
    /// There is none to forget.
    NotManaged,
    /// Nobody knows: no answer came, or one that says so.
    Unknown,
}

/// One question and its answer. What was refused for good, and so changed and showed nothing, is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Operation {
    /// What was asked.
    pub asked: Asked,
    /// When.
    pub begun: Duration,
    /// What was told.
    pub told: Told,
    /// When the answer came.
    pub ended: Duration,
}

impl Operation {
    /// Whether it is known to have taken effect, or shown something, between its begin and its end.
    pub fn is_known(&self) -> bool {
        self.told != Told::Unknown
    }

    /// Whether it is known to have changed the setting.
    pub fn is_acknowledged_change(&self) -> bool {
        matches!(self.told, Told::Set { .. } | Told::Deleted)
    }
}
