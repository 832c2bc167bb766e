//! Bounds, pages, and what is left of damaged files.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use proptest::collection::vec;
use proptest::prelude::*;

use super::compact::{Ids, items};
use super::entry::Author;
use super::line::{Decoded, decode, encode};
use super::*;
use crate::drift::Drift;
use crate::event::{Event, EventKind};
use crate::kind::Kind;
use crate::managed_fields::{FieldOwner, Operation, Writer};
use crate::replicas::Replicas;

const WIDE: Bounds = Bounds { per_target: 100, bytes: 1 << 20 };

fn count(n: i32) -> Replicas {
    Replicas::new(n).expect("valid")
}

fn target(n: usize) -> Target {
    let kind = if n.is_multiple_of(2) { Kind::Deployment } else { Kind::StatefulSet };
    Target::new(kind, "shop", &format!("web-{n}")).expect("valid")
}

fn event(target: Target, second: i64, kind: EventKind) -> Event {
    let at = Timestamp::from_second(second).expect("valid");
    Event { target, at, generation: Some(2), kind }
}

fn drift() -> Drift {
    let writer =
        Writer { manager: "kubectl".into(), operation: Operation::Update, subresource: Some("scale".into()) };
    let by = Some(FieldOwner { writer: Arc::new(writer), time: None });
    Drift { uid: "u".into(), by, likely_by: None, at: Timestamp::UNIX_EPOCH, from: count(3), to: count(7) }
}

fn drifted(n: usize, second: i64) -> Entry {
    let kind = EventKind::Drifted { drift: drift(), is_contested: false };
    Entry::of(&event(target(n), second, kind)).expect("an entry")
}

fn set(n: usize, second: i64, reason: &str) -> Entry {
    let by = Some("alice".to_owned());
    let kind = EventKind::Set { by, from: None, to: count(3), until: None, reason: Some(reason.to_owned()) };
    Entry::of(&event(target(n), second, kind)).expect("an entry")
}

/// A history of as many events, of three targets in turn.
fn history(bounds: Bounds, length: usize) -> History {
    let mut history = History::new(bounds);
    for n in 0..length {
        let second = i64::try_from(n).expect("small");
        history.push(if n % 2 == 0 { drifted(n % 3, second) } else { set(n % 3, second, "sale\n\"9\"") }, 0);
    }
    history
}

fn entries(history: &History) -> Vec<Entry> {
    history.entries().map(|entry| (**entry).clone()).collect()
}

fn text(history: &History) -> Vec<u8> {
    let mut text = Vec::new();
    history.entries().for_each(|entry| encode(entry, &mut text));
    text
}

#[test]
fn an_entry_says_who_did_what() {
    let took = Duration::from_micros(3300);
    let repaired = EventKind::Repaired {
        drift: drift(),
        from: count(7),
        to: count(3),
        took,
        lasted: took,
        pods_lost: 1,
    };
    let entry = Entry::of(&event(target(0), 5, repaired)).expect("an entry");
    assert_eq!((entry.what, entry.from, entry.to), (What::Repaired, Some(count(7)), Some(count(3))));
    assert_eq!((entry.took, entry.pods_lost), (Some(took), Some(1)));
    assert!(matches!(&entry.author, Some(Author::Manager(writer)) if &*writer.manager == "kubectl"));
    assert_eq!(set(0, 1, "sale").author, Some(Author::User("alice".into())));
    assert_eq!(set(0, 1, &"é".repeat(600)).reason.map(|reason| reason.len()), Some(1024));
    assert_eq!(Entry::of(&event(target(0), 5, EventKind::PodsLost { more: 1 })), None);
    let ended = EventKind::HoldEnded { from: count(9), to: None };
    let entry = Entry::of(&event(target(0), 5, ended)).expect("an entry");
    assert_eq!((entry.what, entry.from, entry.to), (What::HoldEnded, Some(count(9)), None));
}

#[test]
fn the_last_entries_of_each_target_are_kept() {
    let history = history(Bounds { per_target: 2, ..WIDE }, 12);
    let ids: Vec<_> = history.entries().map(|entry| entry.id).collect();
    assert_eq!(ids, [7, 8, 9, 10, 11, 12]);
}

#[test]
fn drifts_are_counted_across_restarts_until_the_setting_is_deleted() {
    let bounds = Bounds { per_target: 2, ..WIDE };
    let mut history = History::new(bounds);
    for second in 0..5 {
        history.push(drifted(0, second), 0);
    }
    let mut restored = History::restore(bounds, entries(&history));
    restored.push(drifted(0, 6), 0);
    let (drifts, last) = restored.drifts(&target(0));
    assert_eq!((drifts, last.map(|entry| entry.id)), (6, Some(6)));
    let deleted = event(target(0), 7, EventKind::Deleted { by: None, desired: count(3) });
    restored.push(Entry::of(&deleted).expect("an entry"), 0);
    assert_eq!(restored.drifts(&target(0)), (0, None));
}

#[test]
fn a_history_without_room_keeps_nothing() {
    for bounds in [Bounds { per_target: 0, ..WIDE }, Bounds { bytes: 0, ..WIDE }] {
        let history = history(bounds, 5);
        assert!(history.is_empty());
        assert_eq!((history.bytes(), history.targets.len()), (0, 0));
    }
}

#[test]
fn a_filter_selects_by_target_time_and_event() {
    let history = history(WIDE, 9);
    let second = |second| Some(Timestamp::from_second(second).expect("valid"));
    for (filter, expected) in [
        (Filter::default(), &[9, 8, 7, 6, 5, 4, 3, 2, 1][..]),
        (Filter { namespace: Some("other".into()), ..Filter::default() }, &[]),
        (Filter { name: Some("web-1".into()), ..Filter::default() }, &[8, 5, 2]),
        (Filter { kind: Some(Kind::StatefulSet), ..Filter::default() }, &[8, 5, 2]),
        (Filter { since: second(3), until: second(6), ..Filter::default() }, &[6, 5, 4]),
        (Filter { whats: BTreeSet::from([What::Set]), ..Filter::default() }, &[8, 6, 4, 2]),
        (
            Filter {
                namespace: Some("shop".into()),
                name: Some("web-2".into()),
                kind: Some(Kind::Deployment),
                whats: BTreeSet::from([What::Drifted]),
                ..Filter::default()
            },
            &[9, 3],
        ),
    ] {
        let page = history.page(&filter, None, 100);
        assert_eq!(page.entries.iter().map(|entry| entry.id).collect::<Vec<_>>(), expected, "{filter:?}");
        assert_eq!(page.before, None);
    }
}

#[test]
fn entries_that_do_not_follow_are_left_out() {
    let mut stored = entries(&history(WIDE, 3));
    stored.push(Entry { id: 2, ..stored[0].clone() });
    stored.push(Entry { id: u64::MAX, ..stored[0].clone() });
    let mut restored = History::restore(WIDE, stored);
    assert_eq!(restored.len(), 3);
    assert_eq!(restored.push(drifted(0, 9), 0).id, 4);
}

#[test]
fn a_torn_tail_costs_one_entry_at_most() {
    let history = history(WIDE, 3);
    let (text, expected) = (text(&history), entries(&history));
    for length in 0..=text.len() {
        let Decoded { entries, damaged, is_torn } = decode(&text[..length]);
        let whole = text[..length].split(|byte| *byte == b'\n').count() - 1;
        assert_eq!((&entries[..], damaged), (&expected[..whole], 0), "{length} bytes");
        assert_eq!(is_torn, length > 0 && text[length - 1] != b'\n', "{length} bytes");
    }
}

proptest! {
    #[test]
    fn only_whole_entries_come_back_from_damage(at in any::<prop::sample::Index>(), byte: u8, length in 1..6_usize) {
        let history = history(WIDE, length);
        let (mut text, expected) = (text(&history), entries(&history));
        let at = at.index(text.len());
        prop_assume!(text[at] != byte);
        text[at] = byte;
        let decoded = decode(&text);
        prop_assert!(decoded.entries.len() + 2 >= length);
        prop_assert!(decoded.damaged > 0 || decoded.is_torn || decoded.entries == expected);
        for entry in &decoded.entries {
            prop_assert!(expected.contains(entry), "{entry:?}");
        }
    }

    #[test]
    fn garbage_is_no_entry(garbage in vec(any::<u8>(), 0..300)) {
        let whole = text(&history(WIDE, 1));
        let text = [&garbage[..], b"\n", &whole, &garbage].concat();
        prop_assert_eq!(decode(&text).entries, entries(&history(WIDE, 1)));
    }

    #[test]
    fn bounds_hold_and_pages_are_complete(
        per_target in 0..5_usize, bytes in 0..4000_usize, length in 0..40_usize, size in 1..7_usize,
    ) {
        let bounds = Bounds { per_target, bytes };
        let mut history = history(bounds, length);
        let sum: usize = history.entries().map(|entry| entry.bytes()).sum();
        prop_assert_eq!(history.bytes(), sum);
        prop_assert!(sum <= bytes);
        for kept in history.targets.values() {
            prop_assert!(!kept.ids.is_empty() && kept.ids.len() <= per_target);
        }
        let (mut paged, mut before) = (Vec::new(), None);
        loop {
            let page = history.page(&Filter::default(), before, size);
            paged.extend(page.entries);
            before = page.before;
            if before.is_none() { break }
        }
        paged.reverse();
        prop_assert!(paged.iter().eq(history.entries()));
        let restored = History::restore(bounds, decode(&text(&history)).entries);
        prop_assert!(restored.entries().eq(history.entries()));
        let next = history.push(drifted(0, 99), 0).id;
        prop_assert!(next > length as u64 && history.entries().all(|entry| entry.id <= next));
    }
}

/// What two servers that share a history do, and the ids that a reader of each of them then gets.
struct Shared {
    holder: History,
    follower: History,
}

impl Shared {
    fn new(bounds: Bounds) -> Self {
        let mut both = [History::new(bounds), History::new(bounds)];
        for history in &mut both {
            history.follow();
            history.record_gap(10);
            history.record_version(10);
        }
        let [holder, follower] = both;
        Self { holder, follower }
    }

    /// The holder records something.
    fn happen(&mut self, n: usize, second: i64) -> Entry {
        (*self.holder.push(drifted(n, second), 1000)).clone()
    }

    /// The follower reads it, and so does the holder.
    fn publish(&mut self, entries: &[&Entry], version: u64) {
        for history in [&mut self.holder, &mut self.follower] {
            for entry in entries {
                history.adopt((*entry).clone(), version);
            }
            history.record_version(version);
        }
    }
}

#[track_caller]
fn check_since(history: &History, position: Position, expected: Option<&[u64]>) {
    let ids =
        history.since(&position).map(|entries| entries.iter().map(|entry| entry.id).collect::<Vec<_>>());
    assert_eq!(ids.as_deref(), expected);
}

#[test]
fn a_reader_goes_on_with_another_server() {
    let mut shared = Shared::new(WIDE);
    let begin = [shared.holder.position(), shared.follower.position()];
    let (one, two, three) = (shared.happen(0, 1), shared.happen(1, 2), shared.happen(0, 3));
    let has_two = Position { last_id: two.id, last_at: 2_000_000, ..shared.holder.position() };
    check_since(&shared.holder, has_two, Some(&[three.id]));
    // The target of the second one is slower.
    shared.publish(&[&one, &three], 11);
    let has_one_and_three = shared.follower.position();
    check_since(&shared.holder, has_one_and_three, Some(&[two.id]));
    check_since(&shared.follower, has_two, Some(&[three.id]));
    shared.publish(&[&two], 12);
    for position in begin {
        check_since(&shared.holder, position, Some(&[one.id, two.id, three.id]));
        check_since(&shared.follower, position, Some(&[one.id, two.id, three.id]));
    }
    check_since(&shared.follower, has_one_and_three, Some(&[two.id]));
    check_since(&shared.follower, has_two, Some(&[three.id]));
    check_since(&shared.follower, shared.holder.position(), Some(&[]));
    check_since(&shared.holder, shared.follower.position(), Some(&[]));

    // The follower takes over, and what the holder has told nobody is lost.
    let lost = shared.happen(1, 4);
    let has_lost = shared.holder.position();
    let next = shared.follower.push(drifted(1, 5), lost.id + 7).id;
    check_since(&shared.follower, has_lost, Some(&[next]));
    assert_eq!(shared.follower.drifts(&target(1)).0, 2);
    // Unless it was written at the last moment.
    let has_next = shared.follower.position();
    shared.follower.adopt(lost.clone(), 13);
    check_since(&shared.follower, has_next, Some(&[lost.id]));
}

#[test]
fn a_deletion_is_seen_by_all_and_told_once() {
    let mut shared = Shared::new(WIDE);
    let set = shared.happen(0, 1);
    shared.publish(&[&set], 11);
    let (holder, follower) = (shared.holder.position(), shared.follower.position());
    let kind = EventKind::Deleted { by: None, desired: count(3) };
    let deleted = Entry::of(&event(target(0), 2, kind)).expect("an entry");
    let by_holder = shared.holder.push(deleted.clone(), 1000).id;
    let by_follower = shared.follower.push_seen(deleted, 2000).id;
    shared.publish(&[], 15);
    check_since(&shared.holder, follower, Some(&[by_holder]));
    check_since(&shared.follower, holder, Some(&[by_follower]));
    check_since(&shared.follower, shared.holder.position(), Some(&[]));
    check_since(&shared.holder, shared.follower.position(), Some(&[]));
}

#[test]
fn a_position_that_is_too_old_or_foreign_is_refused() {
    let bounds = Bounds { per_target: 2, ..WIDE };
    let mut shared = Shared::new(bounds);
    let begin = [shared.holder.position(), shared.follower.position()];
    check_since(&shared.follower, Position { version: 9, ..Position::default() }, None);
    let three: Vec<_> = (1..4).map(|second| shared.happen(0, second)).collect();
    let recent = Position { last_id: three[1].id, last_at: 2_000_000, ..shared.holder.position() };
    three.iter().zip(11..).for_each(|(entry, version)| shared.publish(&[entry], version));
    for position in begin {
        check_since(&shared.follower, position, None);
    }
    check_since(&shared.holder, recent, Some(&[three[2].id]));
    check_since(&shared.follower, Position { version: 11, ..begin[1] }, Some(&[three[1].id, three[2].id]));
    shared.follower.record_gap(14);
    check_since(&shared.follower, Position { version: 13, ..begin[1] }, None);

    // One server with a file, of which the end is lost.
    let mut alone = history(bounds, 4);
    let recent = alone.position();
    alone.push(drifted(1, 9), 0);
    check_since(&alone, recent, Some(&[5]));
    let mut restored = History::restore(bounds, entries(&alone)[..1].iter().cloned());
    restored.push(set(0, 77, "other"), 0);
    check_since(&restored, Position { last_id: 3, ..recent }, None);
    check_since(&restored, recent, None);
    let gap = History::restore(WIDE, [Entry { id: 4, ..drifted(0, 1) }, Entry { id: 6, ..drifted(0, 2) }]);
    let has_four = Position { first_id: 1, last_id: 4, last_at: 1_000_000, version: 0 };
    check_since(&gap, has_four, None);
    check_since(&gap, gap.position(), Some(&[]));
}

#[test]
fn a_clock_that_is_ahead_hides_nothing() {
    let mut shared = Shared::new(WIDE);
    let first = shared.happen(0, 1);
    shared.publish(&[&first], 11);
    let late = Entry { id: 0, ..drifted(1, 2) };
    let last = shared.holder.push(late, 9000).id;
    let position = shared.holder.position();
    // The next holder has not seen the last one, and its clock is behind.
    let own = shared.follower.push(drifted(0, 3), 2000).id;
    assert!(position.first_id < own && own < last);
    check_since(&shared.follower, position, Some(&[own]));
    check_since(&shared.follower, shared.follower.position(), Some(&[]));

    // A follower gives its own id to a deletion.
    let mut shared = Shared::new(WIDE);
    let position = Position { first_id: 500, last_id: 9000, last_at: 0, version: 10 };
    let kind = EventKind::Deleted { by: None, desired: count(3) };
    let deleted = Entry::of(&event(target(0), 2, kind)).expect("an entry");
    let deleted = shared.follower.push_seen(deleted, 5000).id;
    check_since(&shared.follower, position, Some(&[deleted]));
    // What an object tells then is newer.
    let set = Entry { id: 4000, ..set(0, 3, "again") };
    shared.follower.adopt(set, 12);
    let told = Ids { oldest: 4000, newest: 4000 };
    let drifted = shared.follower.push(drifted(0, 4), 4001).id;
    let ids: Vec<_> =
        items(&shared.follower, &target(0), told).iter().map(|item| (item.entry.id, item.after)).collect();
    assert_eq!(ids, [(drifted, 0), (4000, 0)]);
    assert_eq!(items(&shared.follower, &target(0), Ids::default()).len(), 1);
}

#[test]
fn what_memory_has_lost_is_not_new_when_its_write_is_answered() {
    let mut shared = Shared::new(Bounds { per_target: 2, ..WIDE });
    let own: Vec<_> = (1..4).map(|second| shared.happen(0, second)).collect();
    assert_eq!(shared.holder.adopt(own[0].clone(), 11), None);
    assert!(shared.follower.adopt(own[0].clone(), 11).is_some());
    assert!(shared.holder.adopt(Entry { id: own[0].id - 1, ..own[0].clone() }, 11).is_some());
}
