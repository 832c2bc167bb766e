//! What fits into an object, and what is left of it.

use jiff::Timestamp;

use super::super::entry::Author;
use super::super::sample::sample;
use super::*;

fn entry(id: u64, what: What) -> Arc<Entry> {
    Arc::new(Entry { id, ..sample("shop", "web", what) })
}

fn web() -> Target {
    Target::deployment("shop", "web").expect("valid")
}

fn ids(decoded: &Decoded) -> Vec<u64> {
    decoded.entries.iter().map(|entry| entry.id).collect()
}

#[test]
fn lines_are_read_as_they_were_written() {
    let whats =
        [What::Set, What::Drifted, What::Repaired, What::WriteFailed, What::Contested, What::Autoscaled];
    let entries: Vec<_> = whats.into_iter().zip(1..).map(|(what, id)| entry(id, what)).collect();
    let lines = encode(entries.iter().rev(), 0);
    let decoded = decode(&lines, &web(), 0);
    assert!(
        decoded.entries.iter().eq(entries.iter().map(|entry| &**entry)) && !decoded.has_gap,
        "{decoded:?}"
    );
    assert_eq!((ids(&decode(&lines, &web(), 4)), newest_id(&lines)), (vec![5, 6], 6));
    let longest = lines.iter().map(String::len).max();
    println!("{} lines of {} bytes, the longest of {longest:?}", lines.len(), lines.concat().len());
}

#[test]
fn what_cannot_be_read_is_left_out() {
    let mut lines = encode([entry(2, What::Set), entry(1, What::Set)].iter(), 0);
    lines.insert(1, r#"{"id":7,"at":"2026-01-01T00:00:00Z","what":"melted"}"#.to_owned());
    lines.push("not JSON".to_owned());
    assert_eq!((ids(&decode(&lines, &web(), 0)), newest_id(&lines)), (vec![1, 2], 2));
}

#[test]
fn the_newest_entries_fit_and_the_last_drift() {
    let mut entries: Vec<_> = (2..100).rev().map(|id| entry(id, What::Applied)).collect();
    entries.push(entry(1, What::Drifted));
    let lines = encode(entries.iter(), 0);
    let decoded = decode(&lines, &web(), 0);
    let newest = (100 - MAX_LINES as u64)..100;
    assert_eq!((ids(&decoded), decoded.has_gap), ([1].into_iter().chain(newest).collect(), true));
    // What others have read is no gap.
    assert!(!decode(&encode(entries.iter(), 99 - MAX_LINES as u64), &web(), 0).has_gap);
    assert!(!decode(&lines, &web(), 50).has_gap);

    let long = |id| {
        Arc::new(Entry { message: Some("é".repeat(400).into()), ..(*entry(id, What::Drifted)).clone() })
    };
    let author = Some(Author::User("u".repeat(500).into()));
    let long: Vec<_> =
        (1..50).rev().map(|id| Arc::new(Entry { author: author.clone(), ..(*long(id)).clone() })).collect();
    let lines = encode(long.iter(), 0);
    assert!(lines.len() > 3 && lines.concat().len() <= MAX_BYTES, "{}", lines.concat().len());
    let name = Some(Author::User("u".repeat(2000).into()));
    let too_long = Arc::new(Entry { author: name, ..(*entry(3, What::Set)).clone() });
    assert_eq!(ids(&decode(&encode([too_long, entry(2, What::Set)].iter(), 0), &web(), 0)), [2]);
}

#[test]
fn what_was_before_a_deletion_is_not_told() {
    let entries = [entry(4, What::Set), entry(3, What::Deleted), entry(2, What::Drifted)];
    let decoded = decode(&encode(entries.iter(), 0), &web(), 0);
    assert_eq!((ids(&decoded), decoded.has_gap), (vec![4], false));
    assert_eq!(decoded.entries[0].at, Timestamp::from_second(1_767_225_600).expect("valid"));
}
