//! The events of a target: the one vocabulary for what happened to it.
//!
//! Only the transitions of a target ([`step`](crate::step::step)) and of its setting ([`Event::of_change`]) create
//! events. The log and the metrics consume them.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::change::Changed;
use crate::drift::Drift;
use crate::failures::Failure;
use crate::pods::LateCost;
use crate::replicas::Replicas;
use crate::setting::Enforcement;
use crate::steady::SteadyConflict;
use crate::target::Target;

/// Something that happened to a target.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// The target.
    pub target: Target,
    /// When it happened, or when it was seen.
    pub at: Timestamp,
    /// The generation of the setting. `None`: the setting was deleted.
    pub generation: Option<u64>,
    /// What happened.
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum EventKind {
    /// A count was stored.
    Set {
        /// The user. `None`: not known.
        by: Option<String>,
        /// The desired count before. `None`: the target was not managed.
        from: Option<Replicas>,
        /// The desired count.
        to: Replicas,
        /// When it ends. `None`: it does not.
        until: Option<Timestamp>,
        /// Why, as given by the user.
        reason: Option<String>,
    },
    /// A setting was deleted.
    Deleted {
        /// The user. `None`: not known.
        by: Option<String>,
        /// The count that was desired.
        desired: Replicas,
    },
    /// A setting is enforced from now on, or ignored.
    EnforcementSet {
        /// The user. `None`: not known.
        by: Option<String>,
        /// The new enforcement.
        enforcement: Enforcement,
    },
    /// A temporary count has ended.
    HoldEnded {
        /// The temporary count.
        from: Replicas,
        /// The desired count that is in force again. `None`: the target is no longer managed.
        to: Option<Replicas>,
    },
    /// A drift was seen for the first time.
    Drifted {
        /// The drift.
        drift: Drift,
        /// Whether the target was already contested.
        is_contested: bool,
    },
    /// Another server that writes under our field manager caused the drift.
    AnotherServer {
        /// The drift.
        drift: Drift,
    },
    /// An acknowledged write of ours repaired a drift.
    Repaired {
        /// The drift.
        drift: Drift,
        /// The count before the write.
        from: Replicas,
        /// The count that was written.
        to: Replicas,
        /// How long the write took.
        took: Duration,
        /// How long the drift has lasted since it was first seen, with every delay.
        lasted: Duration,
        /// How many pods the drift has cost so far.
        pods_lost: u32,
    },
    /// A new setting was put into effect.
    Applied {
        /// The count before the write.
        from: Replicas,
        /// The count that was written.
        to: Replicas,
        /// How long the write took.
        took: Duration,
    },
    /// A drift ended without an acknowledged write of ours.
    Resolved {
        /// The drift.
        drift: Drift,
        /// How it ended.
        how: Resolution,
        /// Whether the target was already contested.
        is_contested: bool,
        /// How many pods the drift has cost so far.
        pods_lost: u32,
    },
    /// The status shows that the last drift has cost more pods.
    PodsLost {
        /// How many more.
        more: u32,
    },
    /// A drift that has ended has cost more than was reported with its end.
    LateCost(LateCost),
    /// Somebody keeps changing the count: repairs are delayed from now on.
    Contested {
        /// The last drift.
        drift: Option<Drift>,
        /// How long the next repair waits.
        wait: Duration,
    },
    /// Nobody changes the count any more.
    Calmed,
    /// Somebody changes the count again and again. This delays nothing.
    SteadyConflict(SteadyConflict),
    /// There was no round of a steady conflict for long enough.
    SteadyConflictEnded,
    /// The workload does not exist, or is being deleted.
    Missing,
    /// Another autoscaler targets the workload, or no autoscaler does any more.
    Autoscaled {
        /// Kind and name of the autoscaler. `None`: no autoscaler targets it any more.
        autoscaler: Option<Arc<str>>,
    },
    /// A write failed.
    WriteFailed(WriteFailure),
}

/// How a drift ended without a known repair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// The cluster has the desired count again: somebody restored it, or an unacknowledged write of ours did.
    InSync,
    /// Another drift took its place.
    Replaced,
    /// A new setting was put into effect.
    NewSetting,
    /// The count is no longer managed: a temporary count without a lasting one has ended.
    Unmanaged,
}

impl Resolution {
    /// Its stable name in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InSync => "in_sync",
            Self::Replaced => "drifted_again",
            Self::NewSetting => "new_setting",
            Self::Unmanaged => "no_longer_managed",
        }
    }
}

/// A write that failed.
#[derive(Clone, Debug, PartialEq)]
pub struct WriteFailure {
    /// The drift that it was to repair. `None`: it was to put a new setting into effect.
    pub drift: Option<Drift>,
    /// The count to write.
    pub to: Replicas,
    /// Why it failed.
    pub failure: Failure,
    /// The HTTP status of the answer. `None`: there was no answer.
    pub code: Option<u16>,
    /// The error message.
    pub message: String,
    /// How many writes failed in a row.
    pub in_a_row: u32,
    /// Whether to log a warning; see [`Failures::should_warn`](crate::failures::Failures::should_warn).
    pub should_warn: bool,
    /// How long until the next attempt.
    pub delay: Duration,
}

impl Event {
    /// The event for a changed setting. `None`: there was none before and after.
    pub fn of_change(changed: &Changed) -> Option<Self> {
        let target = changed.target.known()?.clone();
        let by = changed.by.clone();
        let before = changed.before.as_ref().and_then(|before| before.at(changed.at));
        let kind = match (&before, &changed.after) {
            (None, None) => return None,
            (Some(before), None) => EventKind::Deleted { by, desired: before.replicas },
            (Some(before), Some(after)) if before.is_same_count_as(after) => {
                EventKind::EnforcementSet { by, enforcement: after.enforcement }
            }
            (before, Some(after)) => EventKind::Set {
                by,
                from: before.as_ref().map(|before| before.replicas),
                to: after.replicas,
                until: after.hold.map(|hold| hold.until),
                reason: after.reason.clone(),
            },
        };
        let generation = changed.after.as_ref().map(|after| after.generation);
        Some(Self { target, at: changed.at, generation, kind })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::{Action, Change, Existing};
    use crate::setting::Setting;
    use crate::stored::Entry;

    #[track_caller]
    fn check(before: Option<&Arc<Setting>>, action: Action, expected: (Option<u64>, EventKind)) {
        let target = Target::deployment("shop", "web").expect("valid");
        let (by, at) = ("alice".to_owned(), Timestamp::UNIX_EPOCH);
        let change = Change { expected_generation: None, existing: Existing::Any, by, at, action };
        let before = before.cloned().map(Entry::Setting);
        let changed = change.apply(target.into(), before).expect("accepted");
        let event = Event::of_change(&changed).map(|event| (event.generation, event.kind));
        assert_eq!(event, Some(expected));
    }

    #[test]
    fn the_event_of_a_change_names_its_author() {
        let count = |n| Replicas::new(n).expect("valid");
        let by = || Some("alice".to_owned());
        let until = Timestamp::from_second(60).ok();
        let set = |n| Action::Set { replicas: count(n), until, reason: Some("sale".into()) };
        let (from, to, reason) = (None, count(3), Some("sale".to_owned()));
        check(None, set(3), (Some(1), EventKind::Set { by: by(), from, to, until, reason: reason.clone() }));

        let before = Arc::new(Setting::of(count(3)));
        let (from, to) = (Some(count(3)), count(3));
        check(Some(&before), set(3), (Some(2), EventKind::Set { by: by(), from, to, until, reason }));
        let enforcement = Enforcement::Ignore { until: None };
        let expected = EventKind::EnforcementSet { by: by(), enforcement };
        check(Some(&before), Action::Enforce(enforcement), (Some(2), expected));
        let expected = EventKind::Deleted { by: by(), desired: count(3) };
        check(Some(&before), Action::Delete, (None, expected));
    }
}
