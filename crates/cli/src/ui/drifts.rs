//! Who drifts counts most, and when: drifts of the history, added up.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::shapes::Event;

/// The length of a slot in time, in milliseconds. Time zones differ by multiples of it.
const SLOT: i64 = 15 * 60 * 1000;

/// Drifts, added up.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Drifts {
    /// How many there are.
    pub(super) count: u64,
    /// Who caused them, those with the most drifts first.
    pub(super) authors: Vec<Author>,
    /// How many began in each quarter of an hour: its start, and the number.
    pub(super) slots: Vec<(i64, u64)>,
    /// The history has older drifts of that time that were not counted.
    pub(super) is_cut: bool,
}

/// The drifts of one author.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Author {
    /// The name. Empty: unknown.
    pub(super) by: String,
    /// How sure the name is, as in an event.
    pub(super) certainty: &'static str,
    /// How many drifts.
    pub(super) drifts: u64,
    /// How many workloads.
    pub(super) targets: usize,
    /// When the last one was.
    pub(super) last: Option<i64>,
}

/// Adds up drifts, one page after the other.
#[derive(Debug, Default)]
pub(super) struct Sum {
    count: u64,
    slots: BTreeMap<i64, u64>,
    authors: BTreeMap<(String, &'static str), OfAuthor>,
}

#[derive(Debug, Default)]
struct OfAuthor {
    drifts: u64,
    targets: BTreeSet<(String, String, String)>,
    last: Option<i64>,
}

impl Sum {
    /// Adds a drift.
    pub(super) fn add(&mut self, event: Event) {
        self.count += 1;
        if let Some(at) = event.at {
            *self.slots.entry(at - at.rem_euclid(SLOT)).or_default() += 1;
        }
        let author = self.authors.entry((event.by, event.certainty)).or_default();
        author.drifts += 1;
        author.last = author.last.max(event.at);
        author.targets.insert((event.namespace, event.name, event.kind));
    }

    /// The sum.
    pub(super) fn finish(self, is_cut: bool) -> Drifts {
        let authors =
            self.authors.into_iter().map(|((by, certainty), OfAuthor { drifts, targets, last })| Author {
                by,
                certainty,
                drifts,
                targets: targets.len(),
                last,
            });
        let mut authors: Vec<Author> = authors.collect();
        authors.sort_by_key(|author| std::cmp::Reverse(author.drifts));
        Drifts { count: self.count, authors, slots: self.slots.into_iter().collect(), is_cut }
    }
}

#[cfg(test)]
mod tests {
    use replica_count_api::proto;

    use super::*;

    fn drift(by: &str, name: &str, at: i64) -> Event {
        let event = proto::Event { by: by.to_owned(), name: name.to_owned(), ..Default::default() };
        Event { at: Some(at), certainty: "CLAIMED", ..event.into() }
    }

    #[test]
    fn drifts_are_added_up_by_author_and_time() {
        let mut sum = Sum::default();
        for (by, name, at) in [
            ("helm", "web", SLOT),
            ("kubectl", "web", SLOT + 1),
            ("kubectl", "web", 2 * SLOT - 1),
            ("kubectl", "api", 2 * SLOT),
        ] {
            sum.add(drift(by, name, at));
        }
        let sum = sum.finish(true);
        assert_eq!((sum.count, sum.is_cut), (4, true));
        assert_eq!(sum.slots, [(SLOT, 3), (2 * SLOT, 1)]);
        let authors =
            sum.authors.iter().map(|author| (&*author.by, author.drifts, author.targets, author.last));
        assert_eq!(
            authors.collect::<Vec<_>>(),
            [("kubectl", 3, 2, Some(2 * SLOT)), ("helm", 1, 1, Some(SLOT))]
        );
    }
}
