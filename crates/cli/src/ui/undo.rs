//! What undoes the last change of a setting, according to the history.

use serde::Serialize;

use super::shapes::{Detail, Event};

/// The types of events that change a setting.
pub(super) const CHANGES: [replica_count_api::proto::EventType; 4] = {
    use replica_count_api::proto::EventType::{EventDeleted, EventEnforced, EventIgnored, EventSet};
    [EventSet, EventDeleted, EventEnforced, EventIgnored]
};

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "action", rename_all = "camelCase")]
pub(super) enum Step {
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
    /// The history does not say what was before.
    Unknown,
}

/// The step that undoes the first of these changes, which are in the order of the history: newest first. `current` is the
/// workload as it is now, unless there is none. `now` is in milliseconds since 1970.
pub(super) fn undo(changes: &[Event], current: Option<&Detail>, now: i64) -> Step {
    let Some(last) = changes.first() else { return Step::Unknown };
    // A later change may be missing in the history.
    if last.generation != current.map_or(0, |current| current.generation) {
        return Step::Unknown;
    }
    let back_to = |count: Option<i32>| count.map_or(Step::Delete, |replicas| Step::Set { replicas });
    match last.what {
        "SET" => match current.map(|current| &current.row) {
            // A temporary count is followed by what was before it.
            Some(row) if row.hold_until.is_some() => back_to(row.afterwards),
            _ => back_to(last.from),
        },
        "DELETED" => last.from.map_or(Step::Unknown, |replicas| Step::Set { replicas }),
        "IGNORED" => Step::Enforce,
        "ENFORCED" => {
            let ignored = changes.iter().skip(1).find(|change| change.what == "IGNORED");
            Step::Ignore { until: ignored.and_then(|ignored| ignored.until).filter(|until| *until > now) }
        }
        _ => Step::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use std::slice;

    use replica_count_api::proto::{self, EventType};

    use super::*;

    /// A change that led to generation 2.
    fn change(what: EventType, from: Option<i32>) -> Event {
        proto::Event { r#type: what.into(), from, generation: 2, ..Default::default() }.into()
    }

    fn current(generation: i64) -> Detail {
        proto::GetDeploymentResponse { generation, ..Default::default() }.into()
    }

    #[test]
    fn every_change_can_be_undone() {
        let ignored = |until| Event { until, ..change(EventType::EventIgnored, None) };
        let enforced = change(EventType::EventEnforced, None);
        let set = |from| change(EventType::EventSet, from);
        for (changes, step) in [
            (vec![], Step::Unknown),
            (vec![set(Some(3)), set(None)], Step::Set { replicas: 3 }),
            (vec![set(None)], Step::Delete),
            (vec![ignored(Some(200))], Step::Enforce),
            (vec![enforced.clone(), ignored(Some(200))], Step::Ignore { until: Some(200) }),
            (vec![enforced.clone(), ignored(Some(100))], Step::Ignore { until: None }),
            (vec![enforced], Step::Ignore { until: None }),
        ] {
            assert_eq!(undo(&changes, Some(&current(2)), 100), step, "{changes:?}");
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
        for (afterwards, step) in [(Some(3), Step::Set { replicas: 3 }), (None, Step::Delete)] {
            let mut current = current(2);
            (current.row.hold_until, current.row.afterwards) = (Some(200), afterwards);
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
