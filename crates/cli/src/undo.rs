//! What undoes the last change of a setting, according to the history.

use replica_count_api::proto::{Event, EventType, GetDeploymentResponse};
use serde::Serialize;

use crate::output::words::millis;

/// How many changes are looked at.
pub(crate) const LAST_CHANGES: u16 = 20;

/// The types of events that change a setting.
pub(crate) const CHANGES: [EventType; 4] = {
    use EventType::{EventDeleted, EventEnforced, EventIgnored, EventSet};
    [EventSet, EventDeleted, EventEnforced, EventIgnored]
};

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "action", rename_all = "camelCase")]
pub(crate) enum Step {
    /// Set this count.
    Set {
        /// The count.
        replicas: i32,
    },
    /// Delete the setting: there was none before.
    Delete,
    /// Enforce it.
    Enforce,
    /// Ignore it, as before.
    Ignore {
        /// Until when, in milliseconds since 1970. `None`: until somebody enforces it.
        until: Option<i64>,
    },
    /// The history does not say what was before, or it was temporary and is over.
    Unknown,
}

/// The step that undoes the first of these changes, which are in the order of the history: newest first. `current` is the
/// workload as it is now, unless there is none. `now` is in milliseconds since 1970.
pub(crate) fn undo(changes: &[Event], current: Option<&GetDeploymentResponse>, now: i64) -> Step {
    let Some((last, before)) = changes.split_first() else { return Step::Unknown };
    // A later change may be missing in the history.
    if last.generation != current.map_or(0, |current| current.generation) {
        return Step::Unknown;
    }
    let back_to = |count: Option<i32>| count.map_or(Step::Delete, |replicas| Step::Set { replicas });
    match last.r#type() {
        // A temporary count is followed by what was before it.
        EventType::EventSet if current.is_some_and(|current| current.hold_until.is_some()) => {
            back_to(current.and_then(|current| current.replicas_afterwards))
        }
        // It would not end any more.
        EventType::EventSet | EventType::EventDeleted if was_temporary(last, before) => Step::Unknown,
        EventType::EventSet => back_to(last.from),
        EventType::EventDeleted => last.from.map_or(Step::Unknown, |replicas| Step::Set { replicas }),
        EventType::EventIgnored => Step::Enforce,
        EventType::EventEnforced => {
            match before.iter().find(|change| change.r#type() == EventType::EventIgnored).map(until) {
                None => Step::Unknown,
                Some(Some(until)) if until <= now => Step::Unknown,
                Some(until) => Step::Ignore { until },
            }
        }
        _ => Step::Unknown,
    }
}

/// Whether the count before a change was in force until a time.
fn was_temporary(change: &Event, before: &[Event]) -> bool {
    let is_of_count =
        |event: &&Event| matches!(event.r#type(), EventType::EventSet | EventType::EventDeleted);
    let set = before.iter().find(is_of_count);
    set.and_then(until).is_some_and(|end| millis(change.at.as_ref()).is_none_or(|at| at < end))
}

fn until(event: &Event) -> Option<i64> {
    millis(event.until.as_ref())
}

#[cfg(test)]
mod tests {
    use std::slice;

    use super::*;

    const fn at(seconds: i64) -> prost_types::Timestamp {
        prost_types::Timestamp { seconds, nanos: 0 }
    }

    /// A change that led to generation 2.
    fn change(what: EventType, from: Option<i32>) -> Event {
        Event { r#type: what.into(), from, generation: 2, at: Some(at(50)), ..Default::default() }
    }

    fn current(generation: i64) -> GetDeploymentResponse {
        GetDeploymentResponse { generation, ..Default::default() }
    }

    #[test]
    fn every_change_can_be_undone() {
        let ignored = |seconds| Event { until: Some(at(seconds)), ..change(EventType::EventIgnored, None) };
        let enforced = change(EventType::EventEnforced, None);
        let for_good = change(EventType::EventIgnored, None);
        let set = |from| change(EventType::EventSet, from);
        let temporary = |seconds| Event { until: Some(at(seconds)), ..set(Some(3)) };
        for (changes, step) in [
            (vec![], Step::Unknown),
            (vec![set(Some(3)), set(None)], Step::Set { replicas: 3 }),
            (vec![set(None)], Step::Delete),
            (vec![ignored(200)], Step::Enforce),
            (vec![enforced.clone(), ignored(200)], Step::Ignore { until: Some(200_000) }),
            (vec![enforced.clone(), ignored(100)], Step::Unknown),
            (vec![enforced.clone(), for_good], Step::Ignore { until: None }),
            (vec![enforced], Step::Unknown),
            // The count before was temporary, and had not ended or had.
            (vec![set(Some(9)), temporary(60)], Step::Unknown),
            (vec![set(Some(3)), temporary(40)], Step::Set { replicas: 3 }),
        ] {
            assert_eq!(undo(&changes, Some(&current(2)), 100_000), step, "{changes:?}");
        }
    }

    #[test]
    fn a_deleted_setting_comes_back() {
        let deleted = Event { generation: 0, ..change(EventType::EventDeleted, Some(0)) };
        for current in [None, Some(current(0))] {
            assert_eq!(undo(slice::from_ref(&deleted), current.as_ref(), 100), Step::Set { replicas: 0 });
        }
    }

    #[test]
    fn a_temporary_count_is_followed_by_what_is_due_afterwards() {
        let set = change(EventType::EventSet, Some(9));
        for (replicas_afterwards, step) in [(Some(3), Step::Set { replicas: 3 }), (None, Step::Delete)] {
            let current =
                GetDeploymentResponse { hold_until: Some(at(200)), replicas_afterwards, ..current(2) };
            assert_eq!(undo(slice::from_ref(&set), Some(&current), 100), step);
        }
    }

    #[test]
    fn nothing_is_undone_if_the_history_misses_a_change() {
        let changes = [change(EventType::EventSet, Some(3))];
        for current in [None, Some(current(1)), Some(current(3))] {
            assert_eq!(undo(&changes, current.as_ref(), 100), Step::Unknown);
        }
    }
}
