//! What undoes the last change of a setting, according to the history.

use serde::Serialize;

use super::shapes::Event;

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

/// The step that undoes the first of these changes, which are in the order of the history: newest first. `now` is in
/// milliseconds since 1970.
pub(super) fn undo(changes: &[Event], now: i64) -> Step {
    let Some(last) = changes.first() else { return Step::Unknown };
    match last.what {
        "SET" => last.from.map_or(Step::Delete, |replicas| Step::Set { replicas }),
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
    use replica_count_api::proto::{self, EventType};

    use super::*;

    fn change(what: EventType, from: Option<i32>) -> Event {
        proto::Event { r#type: what.into(), from, ..Default::default() }.into()
    }

    #[test]
    fn every_change_can_be_undone() {
        let ignored = |until| Event { until, ..change(EventType::EventIgnored, None) };
        let enforced = change(EventType::EventEnforced, None);
        for (changes, step) in [
            (vec![], Step::Unknown),
            (
                vec![change(EventType::EventSet, Some(3)), change(EventType::EventSet, None)],
                Step::Set { replicas: 3 },
            ),
            (vec![change(EventType::EventSet, None)], Step::Delete),
            (vec![change(EventType::EventDeleted, Some(0))], Step::Set { replicas: 0 }),
            (vec![ignored(Some(200))], Step::Enforce),
            (vec![enforced.clone(), ignored(Some(200))], Step::Ignore { until: Some(200) }),
            (vec![enforced.clone(), ignored(Some(100))], Step::Ignore { until: None }),
            (vec![enforced], Step::Ignore { until: None }),
        ] {
            assert_eq!(undo(&changes, 100), step, "{changes:?}");
        }
    }
}
