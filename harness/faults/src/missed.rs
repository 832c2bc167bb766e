//! What a schedule places, and what never happened. A case in which nothing happened shows nothing.

use std::collections::HashSet;

use replica_count_testbed::fault_proxy::Note as ProxyNote;

use crate::arrival::Objects;
use crate::schedule::{Faults, Placed, Schedule};
use crate::trace::{Line, Note};

/// Says what was placed and did not happen.
pub(crate) fn missed(schedule: &Schedule, lines: &[Line]) -> Option<String> {
    let is_struck = lines.iter().any(|line| matches!(line.note, Note::Struck));
    if let Some(blow) = schedule.blow.as_ref().filter(|_| !is_struck) {
        return Some(format!("{blow:?} was not struck"));
    }
    let placed = match &schedule.faults {
        Faults::Placed(placed) => &**placed,
        Faults::None | Faults::Drawn { .. } | Faults::Listed(_) => &[],
    };
    let placed = placed.iter().find(|placed| !is_met(placed, lines))?;
    Some(format!("no request met {placed:?}"))
}

fn is_met(placed: &Placed, lines: &[Line]) -> bool {
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
    use crate::schedule::{Blow, Load};

    fn line(note: Note) -> Line {
        Line { at: Duration::ZERO, note }
    }

    #[test]
    fn a_fault_that_no_request_met_is_missed() {
        let (kind, fault) = (Kind::Watch, Fault::Cut);
        let place = |objects| Placed { kind, objects, after: 0, fault };
        let schedule = |objects| Schedule {
            faults: Faults::Placed(vec![place(objects)]),
            ..Schedule::calm(0, Load::Script)
        };
        let told = |ordinal, note| line(Note::Proxy(Entry { ordinal, note }));
        let request = |fault| {
            let (method, uri) = ("GET".to_owned(), "/apis/apps/v1/deployments?watch=true".to_owned());
            told(3, ProxyNote::Request { kind, method, uri, body: None, fault })
        };
        let met = |ordinal| told(ordinal, ProxyNote::Injected);
        let cases = [
            (vec![request(Some(fault)), met(3)], false),
            (vec![request(Some(fault))], true),
            (vec![request(Some(fault)), met(4)], true),
            (vec![request(Some(Fault::Freeze)), met(3)], true),
            (vec![], true),
        ];
        for (lines, expected) in cases {
            assert_eq!(missed(&schedule(Objects::Deployments), &lines).is_some(), expected, "{lines:?}");
            assert!(missed(&schedule(Objects::Autoscalers), &lines).is_some(), "{lines:?}");
        }
    }

    #[test]
    fn a_blow_that_was_not_struck_is_missed() {
        let blow = Some(Blow::Pause { ms: 1 });
        let schedule = Schedule { blow, ..Schedule::calm(0, Load::Script) };
        assert!(missed(&schedule, &[]).is_some());
        assert_eq!(missed(&schedule, &[line(Note::Struck)]), None);
    }
}
