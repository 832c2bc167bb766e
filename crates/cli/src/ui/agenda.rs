//! Which rows are read again, and when: those of workloads with events, and from time to time all.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use super::shapes::{Event, Target};

/// When the row of a workload is read again after an event: at once, when the cluster has followed, and when pods may
/// have become ready.
const AGAIN: [Duration; 3] = [Duration::ZERO, Duration::from_millis(400), Duration::from_secs(3)];
/// With more rows to read than this, all rows are read.
const MAX_READS: usize = 16;
/// With more than this, all rows are read soon.
const MAX_DUE: usize = 192;
/// How often all rows are read, unless that takes long.
const READ_ALL: Duration = Duration::from_secs(5);
/// Reading all rows takes at most one part in this many of the time.
const SHARE: u32 = 20;
/// The same while so much happens that single rows are not enough.
const SHARE_AT_LEAST: u32 = 4;
/// Which rows are read again, and when.
pub(super) struct Agenda {
    due: BTreeSet<(Instant, Target)>,
    /// When all rows are read.
    all: Instant,
    /// Not before this time, however much happens.
    earliest: Instant,
}

impl Agenda {
    pub(super) fn new(now: Instant) -> Self {
        Self { due: BTreeSet::new(), all: now + READ_ALL, earliest: now }
    }

    /// Something happened to a workload.
    pub(super) fn mark(&mut self, event: &Event, now: Instant) {
        let [_, soon, _] = AGAIN;
        if self.due.len() > MAX_DUE {
            // Much happens at once, for example after a start of the server.
            self.due.clear();
            self.all = self.all.min((now + soon).max(self.earliest));
        }
        let target =
            Target { namespace: event.namespace.clone(), name: event.name.clone(), kind: event.kind.clone() };
        self.due.retain(|(at, other)| *other != target || *at <= now);
        self.due.extend(AGAIN.map(|after| (now + after, target.clone())));
    }

    /// When the next rows are due.
    pub(super) fn next(&self) -> Instant {
        self.due.first().map_or(self.all, |(at, _)| self.all.min(*at))
    }

    /// Takes the workloads whose rows are due, of too many only some. `None`: all rows are due.
    pub(super) fn take(&mut self, now: Instant) -> Option<BTreeSet<Target>> {
        let mut due = BTreeSet::new();
        while self.due.first().is_some_and(|(at, _)| *at <= now) {
            due.extend(self.due.pop_first().map(|(_, target)| target));
        }
        if due.len() > MAX_READS {
            self.all = self.all.min(self.earliest.max(now));
        }
        if self.all <= now { None } else { Some(due.into_iter().take(MAX_READS).collect()) }
    }

    /// All rows have been read, which took this long.
    pub(super) fn all_read(&mut self, took: Duration, now: Instant) {
        self.all = now + READ_ALL.max(took * SHARE);
        self.earliest = now + took * SHARE_AT_LEAST;
    }
}

#[cfg(test)]
mod tests {
    use replica_count_api::proto;

    use super::*;

    fn event(name: &str) -> Event {
        proto::Event { name: name.to_owned(), ..Default::default() }.into()
    }

    fn names(due: Option<BTreeSet<Target>>) -> Option<Vec<String>> {
        due.map(|due| due.into_iter().map(|target| target.name).collect())
    }

    #[test]
    fn a_row_is_read_at_once_and_twice_later() {
        let now = Instant::now();
        let mut agenda = Agenda::new(now);
        agenda.mark(&event("web"), now);
        for after in AGAIN {
            assert_eq!(agenda.next(), now + after);
            assert_eq!(names(agenda.take(now + after)), Some(vec!["web".to_owned()]));
        }
        assert_eq!(agenda.next(), now + READ_ALL);
        assert_eq!(names(agenda.take(now + READ_ALL)), None);
    }

    #[test]
    fn a_flood_of_events_leads_to_few_reads_of_all_rows() {
        let (now, took) = (Instant::now(), Duration::from_millis(500));
        let mut agenda = Agenda::new(now);
        agenda.all_read(took, now);
        for number in 0..10_000 {
            agenda.mark(&event(&number.to_string()), now);
            assert!(agenda.due.len() <= MAX_DUE + AGAIN.len());
        }
        assert_eq!(agenda.all, now + took * SHARE_AT_LEAST);
        assert!(agenda.take(now).is_some(), "not before that");
        assert_eq!(agenda.take(agenda.earliest), None);
    }
}
