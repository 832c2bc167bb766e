//! Detects scheduled faults that were never injected. A case without its fault proves nothing.

use std::collections::HashSet;

use replica_count_testbed::fault_proxy::Note as ProxyNote;

use crate::arrival::Objects;
use crate::schedule::{Faults, Placed, Schedule};
use crate::trace::{Line, Note};

/// Describes a scheduled fault that was not injected, if any.
pub(crate) fn not_injected(schedule: &Schedule, lines: &[Line]) -> Option<String> {
    let is_injected = lines.iter().any(|line| matches!(line.note, Note::ServerFaultInjected));
    if let Some(server_fault) = schedule.server_fault.as_ref().filter(|_| !is_injected) {
        return Some(format!("{server_fault:?} was not injected"));
    }
    let placed = match &schedule.faults {
        Faults::Placed(placed) => &**placed,
        Faults::None | Faults::Drawn { .. } | Faults::Listed(_) => &[],
    };
    let placed = placed.iter().find(|placed| !was_injected(placed, lines))?;
    Some(format!("{placed:?} was not injected"))
}

fn was_injected(placed: &Placed, lines: &[Line]) -> bool {
    let mut requests = HashSet::new();
    lines.iter().any(|line| {
        let Note::Proxy(entry) = &line.note else { return false };
        match &entry.note {
            ProxyNote::Request { kind, uri, fault, .. } => {
                if (*kind, Objects::of(uri), *fault)
                    == (placed.kind, Some(placed.objects), Some(placed.fault))
                {
                    requests.insert(entry.ordinal);
                }
                false
            }
            ProxyNote::Injected => requests.contains(&entry.ordinal),
            ProxyNote::Served { .. }
            | ProxyNote::Answered { .. }
            | ProxyNote::Shown { .. }
            | ProxyNote::Hidden { .. } => false,
        }
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use replica_count_testbed::fault_proxy::{Entry, Fault, Kind};

    use super::*;
    use crate::schedule::{Load, ServerFault};

    fn line(note: Note) -> Line {
        Line { at: Duration::ZERO, note }
    }

    #[test]
    fn a_fault_without_a_matching_request_is_reported() {
        let (kind, fault) = (Kind::Watch, Fault::Cut);
        let place = |objects| Placed { kind, objects, after: 0, fault };
        let schedule = |objects| Schedule {
            faults: Faults::Placed(vec![place(objects)]),
            ..Schedule::without_faults(0, Load::Script)
        };
        let entry = |ordinal, note| line(Note::Proxy(Entry { ordinal, note }));
        let request = |fault| {
            let (method, uri) = ("GET".to_owned(), "/apis/apps/v1/deployments?watch=true".to_owned());
            entry(3, ProxyNote::Request { kind, method, uri, body: None, fault })
        };
        let injected = |ordinal| entry(ordinal, ProxyNote::Injected);
        let cases = [
            (vec![request(Some(fault)), injected(3)], false),
            (vec![request(Some(fault))], true),
            (vec![request(Some(fault)), injected(4)], true),
            (vec![request(Some(Fault::Freeze)), injected(3)], true),
            (vec![], true),
        ];
        for (lines, expected) in cases {
            assert_eq!(
                not_injected(&schedule(Objects::Deployments), &lines).is_some(),
                expected,
                "{lines:?}"
            );
            assert!(not_injected(&schedule(Objects::Autoscalers), &lines).is_some(), "{lines:?}");
        }
    }

    #[test]
    fn a_server_fault_that_did_not_happen_is_reported() {
        let server_fault = Some(ServerFault::Pause { ms: 1 });
        let schedule = Schedule { server_fault, ..Schedule::without_faults(0, Load::Script) };
        assert!(not_injected(&schedule, &[]).is_some());
        assert_eq!(not_injected(&schedule, &[line(Note::ServerFaultInjected)]), None);
    }
}
