//! An entry of the history: one event, in a form that is flat and can be stored.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::drift::Drift;
use crate::event::{Event, EventKind, WriteFailure};
use crate::managed_fields::Writer;
use crate::pods::LateCost;
use crate::replicas::Replicas;
use crate::setting::Enforcement;
use crate::steady::SteadyConflict;
use crate::target::Target;

/// The longest text that is kept of a message, in bytes.
const MAX_TEXT_BYTES: usize = 1024;
/// What an entry takes in the collections that hold it, in bytes: about as much as measured.
const OVERHEAD_BYTES: usize = 192;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// A count was stored.
    Set,
    /// A setting was deleted.
    Deleted,
    /// A setting is enforced from now on.
    Enforced,
    /// A setting is ignored from now on.
    Ignored,
    /// A drift was seen.
    Drifted,
    /// Another server changed a count.
    AnotherServer,
    /// A drift was repaired.
    Repaired,
    /// A new setting was put into effect.
    Applied,
    /// A drift ended without a known repair.
    Resolved,
    /// A drift that has ended has cost more pods than was said with its end.
    LateCost,
    /// Repairs are delayed, because somebody keeps changing the count.
    Contested,
    /// Repairs are no longer delayed.
    Calmed,
    /// Somebody changes the count again and again.
    SteadyConflict,
    /// They have stopped.
    SteadyConflictEnded,
    /// The workload does not exist.
    Missing,
    /// An autoscaler targets the workload, or none does any more.
    Autoscaled,
    /// A write failed.
    WriteFailed,
    /// A temporary count has ended.
    HoldEnded,
}

/// Who did it, and how sure that is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Author {
    /// A user who has proven who they are.
    User(Box<str>),
    /// A field manager: a name that the client chose.
    Manager(Arc<Writer>),
    /// A name that is only suspected, where Kubernetes records nobody.
    Suspected(Arc<str>),
}

/// One event. Fields that an event does not have are `None`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Grows with each event.
    pub id: u64,
    /// The target.
    #[serde(with = "text")]
    pub target: Target,
    /// When it happened, or when it was seen.
    pub at: Timestamp,
    /// What happened.
    pub what: What,
    /// The generation of the setting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// The count before: of a drift, the desired one.
    #[serde(default, with = "count", skip_serializing_if = "Option::is_none")]
    pub from: Option<Replicas>,
    /// The count after: of a drift, the one that was found.
    #[serde(default, with = "count", skip_serializing_if = "Option::is_none")]
    pub to: Option<Replicas>,
    /// Who did it. `None`: unknown, or nobody did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author: Option<Author>,
    /// Why: what the user gave, or a stable word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Box<str>>,
    /// An error, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<Box<str>>,
    /// The HTTP status of a failed write.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<u16>,
    /// How long the write took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub took: Option<Duration>,
    /// How long the next write or repair waits, or the period of a steady conflict.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait: Option<Duration>,
    /// How many pods the drift has cost so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pods_lost: Option<u32>,
    /// How often: writes that failed in a row, rounds of a steady conflict, or drifts of the target since it is managed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub times: Option<u64>,
    /// When enforcement resumes, or a temporary count ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// The autoscaler that targets the workload.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub autoscaler: Option<Arc<str>>,
}

impl Entry {
    /// The entry for an event, without an id. `None`: the event only adds to one that follows.
    pub fn of(event: &Event) -> Option<Self> {
        let mut entry = Self::blank(event.target.clone(), event.at, What::Set, event.generation);
        match &event.kind {
            EventKind::Set { by, from, to, until, reason } => {
                entry.author = user(by.as_deref());
                (entry.from, entry.to, entry.until) = (*from, Some(*to), *until);
                entry.reason = reason.as_deref().map(shorten);
            }
            EventKind::Deleted { by, desired } => {
                entry.what = What::Deleted;
                (entry.author, entry.from) = (user(by.as_deref()), Some(*desired));
            }
            EventKind::EnforcementSet { by, enforcement } => {
                entry.author = user(by.as_deref());
                (entry.what, entry.until) = match enforcement {
                    Enforcement::Enforce => (What::Enforced, None),
                    Enforcement::Ignore { until } => (What::Ignored, *until),
                };
            }
            EventKind::HoldEnded { from, to } => {
                (entry.what, entry.from, entry.to) = (What::HoldEnded, Some(*from), *to);
            }
            EventKind::Drifted { drift, .. } => entry.set_drift(What::Drifted, drift),
            EventKind::AnotherServer { drift } => entry.set_drift(What::AnotherServer, drift),
            EventKind::Repaired { drift, from, to, took, pods_lost, .. } => {
                entry.set_drift(What::Repaired, drift);
                entry.set_write(*from, *to, *took);
                entry.pods_lost = Some(*pods_lost);
            }
            EventKind::Applied { from, to, took } => {
                entry.what = What::Applied;
                entry.set_write(*from, *to, *took);
            }
            EventKind::Resolved { drift, how, pods_lost, .. } => {
                entry.set_drift(What::Resolved, drift);
                (entry.reason, entry.pods_lost) = (Some(how.as_str().into()), Some(*pods_lost));
            }
            EventKind::PodsLost { .. } => return None,
            EventKind::LateCost(LateCost { drift, pods_lost }) => {
                entry.set_drift(What::LateCost, drift);
                entry.pods_lost = Some(*pods_lost);
            }
            EventKind::Contested { drift, wait } => {
                entry.what = What::Contested;
                (entry.author, entry.wait) = (drift.as_ref().and_then(author), Some(*wait));
            }
            EventKind::Calmed => entry.what = What::Calmed,
            EventKind::SteadyConflict(conflict) => entry.set_steady_conflict(conflict),
            EventKind::SteadyConflictEnded => entry.what = What::SteadyConflictEnded,
            EventKind::Missing => entry.what = What::Missing,
            EventKind::Autoscaled { autoscaler } => {
                (entry.what, entry.autoscaler) = (What::Autoscaled, autoscaler.clone());
            }
            EventKind::WriteFailed(failure) => entry.set_failure(failure),
        }
        Some(entry)
    }

    /// An entry without an id that says nothing more.
    pub(super) fn blank(target: Target, at: Timestamp, what: What, generation: Option<u64>) -> Self {
        Self {
            id: 0,
            target,
            at,
            what,
            generation,
            from: None,
            to: None,
            author: None,
            reason: None,
            message: None,
            code: None,
            took: None,
            wait: None,
            pods_lost: None,
            times: None,
            until: None,
            autoscaler: None,
        }
    }

    fn set_steady_conflict(&mut self, conflict: &SteadyConflict) {
        let SteadyConflict { by, likely_by, period, rounds } = conflict;
        self.what = What::SteadyConflict;
        self.author = match (by, likely_by) {
            (Some(writer), _) => Some(Author::Manager(Arc::clone(writer))),
            (None, Some(name)) => Some(Author::Suspected(Arc::clone(name))),
            (None, None) => None,
        };
        (self.wait, self.times) = (Some(*period), Some((*rounds).into()));
    }

    fn set_failure(&mut self, failure: &WriteFailure) {
        let WriteFailure { drift, to, failure, code, message, in_a_row, delay, should_warn: _ } = failure;
        self.what = What::WriteFailed;
        self.author = drift.as_ref().and_then(author);
        (self.to, self.code) = (Some(*to), *code);
        (self.reason, self.message) = (Some(failure.as_str().into()), Some(shorten(message)));
        (self.times, self.wait) = (Some((*in_a_row).into()), Some(*delay));
    }

    fn set_drift(&mut self, what: What, drift: &Drift) {
        self.what = what;
        (self.from, self.to, self.author) = (Some(drift.from), Some(drift.to), author(drift));
    }

    fn set_write(&mut self, from: Replicas, to: Replicas, took: Duration) {
        (self.from, self.to, self.took) = (Some(from), Some(to), Some(took));
    }

    /// About how many bytes of memory it takes.
    pub fn bytes(&self) -> usize {
        let author = match &self.author {
            None => 0,
            Some(Author::User(name)) => name.len(),
            Some(Author::Manager(writer)) => {
                writer.manager.len() + writer.subresource.as_ref().map_or(0, |name| name.len())
            }
            Some(Author::Suspected(name)) => name.len(),
        };
        let texts = [&self.reason, &self.message].into_iter().flatten().map(|text| text.len());
        let target = self.target.namespace().len() + self.target.name().len();
        size_of::<Self>() + OVERHEAD_BYTES + target + author + texts.sum::<usize>()
    }
}

fn user(by: Option<&str>) -> Option<Author> {
    by.filter(|by| !by.is_empty()).map(|by| Author::User(by.into()))
}

/// Who caused a drift.
fn author(drift: &Drift) -> Option<Author> {
    match (&drift.by, &drift.likely_by) {
        (Some(owner), _) => Some(Author::Manager(Arc::clone(&owner.writer))),
        (None, Some(name)) => Some(Author::Suspected(Arc::clone(name))),
        (None, None) => None,
    }
}

/// The beginning of a text, up to a limit.
fn shorten(text: &str) -> Box<str> {
    text[..text.floor_char_boundary(MAX_TEXT_BYTES)].into()
}

/// A target as text.
mod text {
    use serde::{Deserialize as _, Deserializer, Serializer, de};

    use crate::target::Target;

    pub(super) fn serialize<S: Serializer>(target: &Target, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(target)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Target, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|_| de::Error::custom("not a target"))
    }
}

/// A count, which must be valid.
mod count {
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer, de};

    use crate::replicas::Replicas;

    #[expect(clippy::ref_option, clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
    pub(super) fn serialize<S: Serializer>(
        count: &Option<Replicas>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        count.map(Replicas::get).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Replicas>, D::Error> {
        let count = Option::<i32>::deserialize(deserializer)?;
        count.map(Replicas::new).transpose().map_err(de::Error::custom)
    }
}
