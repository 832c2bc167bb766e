//! What the server has, or should have, of one workload.

use jiff::Timestamp;
use replica_count_api::proto::{EnforcementMode, GetDeploymentResponse};

use super::entry::{Enforcement, Entry};
use crate::output::words;

/// A desired count, with all that is stored with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The count that holds for good.
    pub lasting: Option<i32>,
    /// A count that holds until a time.
    pub temporary: Option<(i32, Timestamp)>,
    /// Whether drift is repaired.
    pub enforcement: Enforcement,
    /// Why. Empty: nobody has said.
    pub reason: String,
}

impl Setting {
    /// Without what has ended by now.
    pub(super) fn of_entry(entry: &Entry, now: Timestamp) -> Self {
        Self {
            lasting: entry.replicas,
            temporary: entry.temporary.filter(|(_, until)| *until > now),
            enforcement: match entry.enforcement {
                Enforcement::Ignore(Some(until)) if until <= now => Enforcement::Enforce,
                enforcement => enforcement,
            },
            reason: entry.reason.clone().unwrap_or_default(),
        }
    }

    pub(super) fn of_answer(answer: &GetDeploymentResponse) -> Self {
        let until = answer.hold_until.and_then(words::time);
        let temporary = answer.desired_replicas.zip(until);
        Self {
            lasting: if temporary.is_some() { answer.replicas_afterwards } else { answer.desired_replicas },
            temporary,
            enforcement: match answer.enforcement() {
                EnforcementMode::Ignore => {
                    Enforcement::Ignore(answer.enforcement_until.and_then(words::time))
                }
                EnforcementMode::Enforce | EnforcementMode::ModeUnspecified => Enforcement::Enforce,
            },
            reason: answer.reason.clone(),
        }
    }

    /// The count that holds now. `None`: none.
    pub fn count(&self) -> Option<i32> {
        self.temporary.map(|(count, _)| count).or(self.lasting)
    }
}
