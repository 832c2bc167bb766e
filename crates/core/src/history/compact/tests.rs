//! What fits into an object, and what is left of it.

use jiff::Timestamp;

use super::super::Bounds;
use super::super::entry::Author;
use super::super::sample::sample;
use super::*;

fn entry(id: u64, what: What) -> Arc<Entry> {
    Arc::new(Entry { id, ..sample("shop", "web", what) })
}

fn web() -> Target {
    Target::deployment("shop", "web").expect("valid")
}

fn of(decoded: &Decoded) -> Vec<u64> {
    decoded.entries.iter().map(|entry| entry.id).collect()
}

/// The lines of entries, newest first, of which all are known.
fn lines<'a>(entries: impl IntoIterator<Item = &'a Arc<Entry>>) -> Vec<String> {
    let item = |entry: &Arc<Entry>| Item { entry: Arc::clone(entry), after: 0 };
    encode(&entries.into_iter().map(item).collect::<Vec<_>>()).lines
}

/// A history that knows a version.
fn history(bounds: Bounds) -> History {
    let mut history = History::new(bounds);
    history.record_version(10);
    history
}

/// The id of the newest entry that a reader misses.
fn missing(lines: &[String], known: u64) -> u64 {
    decode(lines, &web(), known).missing
}

#[test]
fn lines_are_read_as_they_were_written() {
    let whats =
        [What::Set, What::Drifted, What::Repaired, What::WriteFailed, What::Contested, What::Autoscaled];
    let entries: Vec<_> = whats.into_iter().zip(1..).map(|(what, id)| entry(id, what)).collect();
    let lines = lines(entries.iter().rev());
    let decoded = decode(&lines, &web(), 0);
    assert!(
        decoded.entries.iter().eq(entries.iter().map(|entry| &**entry)) && decoded.missing == 0,
        "{decoded:?}"
    );
    let known = Ids { oldest: 1, newest: 6 };
    assert_eq!((of(&decode(&lines, &web(), 4)), ids(&lines)), (vec![5, 6], known));
    let longest = lines.iter().map(String::len).max();
    println!("{} lines of {} bytes, the longest of {longest:?}", lines.len(), lines.concat().len());
}

#[test]
fn what_cannot_be_read_is_left_out() {
    let mut lines = lines(&[entry(2, What::Set), entry(1, What::Set)]);
    lines.insert(1, r#"{"id":7,"at":"2026-01-01T00:00:00Z","what":"melted"}"#.to_owned());
    lines.push("not JSON".to_owned());
    for id in [MAX_ID + 1, u64::MAX - 1, u64::MAX] {
        lines.push(
            r#"{"id":7,"at":"2026-01-01T00:00:00Z","what":"set","after":7}"#.replace('7', &id.to_string()),
        );
    }
    let Decoded { missing, .. } = decode(&lines, &web(), 0);
    assert_eq!((of(&decode(&lines, &web(), 0)), ids(&lines).newest, missing), (vec![1, 2], 2, 0));
    // Nor does a number of drifts that cannot grow any more.
    let mut history = history(Bounds::DEFAULT);
    history.adopt(Entry { times: Some(u64::MAX), ..(*entry(3, What::Drifted)).clone() }, 11);
    assert_eq!(history.push((*entry(4, What::Drifted)).clone(), 4).times, Some(u64::MAX));
}

#[test]
fn the_newest_entries_fit_and_the_last_drift() {
    let mut entries: Vec<_> = (2..100).rev().map(|id| entry(id, What::Applied)).collect();
    entries.push(entry(1, What::Drifted));
    let told = lines(&entries);
    let decoded = decode(&told, &web(), 0);
    let newest = (100 - MAX_LINES as u64)..100;
    assert_eq!((of(&decoded), decoded.missing), ([1].into_iter().chain(newest).collect(), 83));
    // A reader misses what it has not read before, whatever the writer knows.
    for (known, expected) in [(1, 83), (50, 83), (82, 83), (83, 0), (90, 0), (99, 0)] {
        assert_eq!(missing(&told, known), expected, "{known}");
    }

    let long = |id| {
        Arc::new(Entry { message: Some("é".repeat(400).into()), ..(*entry(id, What::Drifted)).clone() })
    };
    let author = Some(Author::User("u".repeat(500).into()));
    let long: Vec<_> =
        (1..50).rev().map(|id| Arc::new(Entry { author: author.clone(), ..(*long(id)).clone() })).collect();
    let told = lines(&long);
    assert!(told.len() > 3 && told.concat().len() <= MAX_BYTES, "{}", told.concat().len());
    assert_eq!(missing(&told, 0), 49 - told.len() as u64);
    let name = Some(Author::User("u".repeat(2000).into()));
    let too_long = Arc::new(Entry { author: name, ..(*entry(3, What::Set)).clone() });
    let told = lines(&[entry(4, What::Set), too_long, entry(2, What::Set)]);
    assert_eq!((of(&decode(&told, &web(), 0)), missing(&told, 2), missing(&told, 3)), (vec![2, 4], 3, 0));
}

#[test]
fn what_was_before_a_deletion_is_not_told() {
    let mut history = history(Bounds::DEFAULT);
    for (id, what) in [(2, What::Drifted), (3, What::Deleted), (4, What::Set)] {
        history.push((*entry(id, what)).clone(), id);
    }
    let decoded = decode(&encode(&items(&history, &web(), Ids::default())).lines, &web(), 0);
    assert_eq!((of(&decoded), decoded.missing), (vec![4], 0));
    assert_eq!(decoded.entries[0].at, Timestamp::from_second(1_767_225_600).expect("valid"));
}

#[test]
fn what_memory_has_lost_before_anybody_could_read_it_is_missing() {
    // More than it has room for, of this target or of another one.
    for bounds in [Bounds { per_target: 2, ..Bounds::DEFAULT }, Bounds { bytes: 1200, ..Bounds::DEFAULT }] {
        let mut history = history(bounds);
        for id in 11..=13 {
            history.push((*entry(id, What::Applied)).clone(), id);
        }
        assert!(history.len() < 3);
        for _ in 0..4 {
            history.push(Entry { id: 0, ..sample("shop", "other", What::Set) }, 0);
        }
        history.push((*entry(20, What::Set)).clone(), 20);
        let told = encode(&items(&history, &web(), Ids { oldest: 1, newest: 10 })).lines;
        let oldest = ids(&told).oldest;
        assert_eq!(missing(&told, 10), if oldest == 20 { 13 } else { 12 });
        assert_eq!(missing(&told, 13), 0);
        history.push((*entry(30, What::Deleted)).clone(), 30);
        history.push((*entry(31, What::Set)).clone(), 31);
        assert_eq!(missing(&encode(&items(&history, &web(), Ids::default())).lines, 0), 0);
    }
}

#[test]
fn what_the_object_has_and_memory_does_not_is_missing_for_those_who_have_not_read_it() {
    let mut history = history(Bounds::DEFAULT);
    history.push((*entry(20, What::Set)).clone(), 20);
    let Encoded { lines, has_room } = encode(&items(&history, &web(), Ids { oldest: 5, newest: 9 }));
    assert_eq!((missing(&lines, 4), missing(&lines, 9), has_room), (9, 0, true));
    // The next holder has read that, and tells it, too.
    let mut next = History::new(Bounds::DEFAULT);
    let Decoded { entries, missing: before } = decode(&lines, &web(), 0);
    for entry in entries {
        next.adopt(entry, 11);
    }
    next.record_missing(&web(), before);
    next.push((*entry(30, What::Set)).clone(), 30);
    let told = encode(&items(&next, &web(), Ids { oldest: 20, newest: 20 })).lines;
    assert_eq!((missing(&told, 4), missing(&told, 9)), (9, 0));
}

#[test]
fn what_the_object_has_goes_before_what_memory_has() {
    let drifted = |id, times| Arc::new(Entry { times: Some(times), ..(*entry(id, What::Drifted)).clone() });
    let old = lines(&[entry(9, What::Repaired), drifted(8, 17), entry(7, What::Set)]);
    let mut history = history(Bounds::DEFAULT);
    for id in [20, 21] {
        history.push((*entry(id, What::Drifted)).clone(), id);
    }
    let told = ids(&old);
    let joined = |history: &History| join(items(history, &web(), told), read(&old, &web(), 0));
    let lines = encode(&joined(&history)).lines;
    let decoded = decode(&lines, &web(), 0);
    assert_eq!((of(&decoded), decoded.missing), (vec![7, 8, 9, 20, 21], 0));
    let drifts: Vec<_> = decoded.entries.iter().filter(|entry| entry.what == What::Drifted).collect();
    assert_eq!(drifts.iter().map(|drift| drift.times).collect::<Vec<_>>(), [17, 18, 19].map(Some));
    // Memory may have some of it, and may have lost what nobody could read.
    let mut history = self::history(Bounds { per_target: 2, ..Bounds::DEFAULT });
    history.adopt((*entry(9, What::Repaired)).clone(), 10);
    for id in 20..=22 {
        history.push((*entry(id, What::Applied)).clone(), id);
    }
    let decoded = decode(&encode(&joined(&history)).lines, &web(), 9);
    assert_eq!((of(&decoded), decoded.missing), (vec![21, 22], 20));
    for id in 23..50 {
        history.push((*entry(id, What::Applied)).clone(), id);
    }
    let decoded = decode(&encode(&joined(&history)).lines, &web(), 0);
    assert_eq!(of(&decoded), [7, 8, 9, 48, 49]);
}
