//! The newest entries of one target as short lines, which fit beside its setting in an object of Kubernetes.
//!
//! A line is the entry as JSON, without the target. What cannot be read, such as an event of a later version, is left out.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::History;
use super::entry::{Entry, What};
use crate::target::Target;

/// About this many lines of one target, and one more for the last drift…
pub const MAX_LINES: usize = 16;
/// …and this many bytes of all of them. A usual line has 150 bytes.
pub const MAX_BYTES: usize = 4096;
/// The longest line. Longer ones are left out: only a user with a very long name makes them.
const MAX_LINE_BYTES: usize = 1024;
/// How much is kept of each text, in bytes.
const MAX_TEXT_BYTES: usize = 160;
/// The key of what is not repeated in each line.
const TARGET: &str = "target";

/// The key of [`Item::after`].
const AFTER: &str = "after";
/// Ids in objects are microseconds since 1970. Larger ones, after the year 2500, are not from a server.
const MAX_ID: u64 = 1 << 54;

/// An entry beside the one before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The entry.
    pub entry: Arc<Entry>,
    /// The id of the entry before it, if that is not beside it. 0: it is, or there was none.
    pub after: u64,
}

/// Lines that were made.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Encoded {
    /// The lines, oldest first.
    pub lines: Vec<String>,
    /// Whether older entries would have had room, or the last drift if there is none.
    pub has_room: bool,
}

/// Which entries the lines of an object have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ids {
    /// The oldest one. 0: there is none that can be read.
    pub oldest: u64,
    /// The newest one.
    pub newest: u64,
}

/// What is read of lines.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Decoded {
    /// The entries that were not known, oldest first.
    pub entries: Vec<Entry>,
    /// The newest one of those that were not known and have no line. 0: there is none.
    pub missing: u64,
}

/// What memory has of a target since its setting was last deleted, newest first. `told` is what its object has.
pub fn items(history: &History, target: &Target, told: Ids) -> Vec<Item> {
    let mut entries: Vec<_> = history.of_target(target).cloned().collect();
    // What the object has is newer than the deletion of the one before it, whose id may be larger if clocks differ.
    let is_end = |entry: &Arc<Entry>| entry.what == What::Deleted && !(1..entry.id).contains(&told.oldest);
    let end = entries.iter().position(is_end);
    entries.truncate(end.unwrap_or(entries.len()));
    entries.retain(|entry| entry.what != What::Deleted);
    let missing = history.missing(target);
    // What the object has and memory does not is older than all that memory has.
    let oldest = entries.last().map(|entry| entry.id).filter(|oldest| told.oldest < *oldest);
    let end = oldest.map_or(0, |oldest| told.newest.min(oldest - 1));
    let older: Vec<_> = entries.iter().skip(1).map(|entry| entry.id).chain([0]).collect();
    let after = |(entry, older): (Arc<Entry>, u64)| {
        let before = if older == 0 { missing.max(end) } else { missing };
        let after = if (older + 1..entry.id).contains(&before) { before } else { 0 };
        Item { entry, after }
    };
    entries.into_iter().zip(older).map(after).collect()
}

/// What memory has, after what an object has had before, both newest first. Drifts go on with the number of the last one.
pub fn join(memory: Vec<Item>, old: Vec<Item>) -> Vec<Item> {
    let (mut new, newest) = (memory, old.first().map_or(0, |item| item.entry.id));
    new.retain(|item| item.entry.id > newest);
    if let Some(oldest) = new.last_mut().filter(|oldest| oldest.after <= newest) {
        oldest.after = 0;
    }
    let last_drift = old.iter().find(|item| item.entry.what == What::Drifted);
    let mut drifts = last_drift.and_then(|item| item.entry.times).unwrap_or_default();
    for item in new.iter_mut().rev().filter(|item| item.entry.what == What::Drifted) {
        drifts = item.entry.times.unwrap_or_default().max(drifts.saturating_add(1));
        Arc::make_mut(&mut item.entry).times = Some(drifts);
    }
    new.extend(old);
    new
}

/// The lines of a target. `items` are its entries, newest first. The last drift is always one of them, because it has the
/// number of drifts. A line whose entry before has no line has its id, so that a reader that does not know that one knows
/// that it misses some.
pub fn encode(items: &[Item]) -> Encoded {
    let (mut lines, mut bytes, mut has_drift): (Vec<Value>, _, _) = (Vec::new(), 0, false);
    // Whether all that is older than the last line has no line yet.
    let mut is_row = true;
    let has_room = |lines: &[Value], bytes| lines.len() < MAX_LINES && bytes < MAX_BYTES - MAX_LINE_BYTES;
    for Item { entry, after } in items {
        let is_drift = entry.what == What::Drifted;
        let is_full = !has_room(&lines, bytes);
        // Without room, only the last drift still has some.
        let line = (!is_full || (is_drift && !has_drift)).then(|| to_line(entry));
        let length = line.as_ref().map_or(0, |line| line.to_string().len());
        let Some(mut line) = line.filter(|_| length <= MAX_LINE_BYTES) else {
            if let Some(last) = lines.last_mut().filter(|_| is_row) {
                mark(last, entry.id);
            }
            is_row = false;
            if is_full && has_drift {
                break;
            }
            continue;
        };
        if *after > 0 {
            mark(&mut line, *after);
        }
        (bytes, has_drift, is_row) = (bytes + length, has_drift || is_drift, *after == 0);
        lines.push(line);
    }
    let has_room = has_room(&lines, bytes) || !has_drift;
    Encoded { lines: lines.iter().rev().map(Value::to_string).collect(), has_room }
}

/// Says in a line which entry is before its own.
fn mark(line: &mut Value, after: u64) {
    if let Value::Object(fields) = line {
        fields.insert(AFTER.to_owned(), after.into());
    }
}

/// An entry with shorter texts and without its target.
fn to_line(entry: &Entry) -> Value {
    let mut short = entry.clone();
    for text in [&mut short.reason, &mut short.message].into_iter().flatten() {
        *text = text[..text.floor_char_boundary(MAX_TEXT_BYTES)].into();
    }
    let mut line = serde_json::to_value(short).expect("it has no maps and no errors of its own");
    if let Value::Object(fields) = &mut line {
        fields.remove(TARGET);
    }
    line
}

/// Reads the lines of a target. Those up to the id `known` are known.
pub fn decode(lines: &[String], target: &Target, known: u64) -> Decoded {
    let items = read(lines, target, known);
    let missing = items.iter().map(|item| item.after).filter(|after| *after > known).max();
    let entries = items.into_iter().rev().map(|item| Arc::unwrap_or_clone(item.entry)).collect();
    Decoded { entries, missing: missing.unwrap_or_default() }
}

/// Reads the lines of a target after the id `known`, newest first.
pub fn read(lines: &[String], target: &Target, known: u64) -> Vec<Item> {
    let mut items = Vec::new();
    for line in lines.iter().rev() {
        let Ok(Value::Object(mut fields)) = serde_json::from_str(line) else { continue };
        if id(&fields).is_some_and(|id| id <= known) {
            break;
        }
        let after = fields.get(AFTER).and_then(Value::as_u64).filter(|id| *id <= MAX_ID).unwrap_or_default();
        fields.insert(TARGET.to_owned(), Value::String(target.to_string()));
        let entry: Option<Entry> = serde_json::from_value(Value::Object(fields)).ok();
        let entry = entry.filter(|entry| entry.id > known && entry.id <= MAX_ID);
        items.extend(entry.map(|entry| Item { entry: entry.into(), after }));
    }
    items
}

/// Which entries lines have.
pub fn ids(lines: &[String]) -> Ids {
    let id = |line: &String| id(serde_json::from_str::<Value>(line).ok()?.as_object()?);
    let oldest = lines.iter().find_map(id).unwrap_or_default();
    Ids { oldest, newest: lines.iter().rev().find_map(id).unwrap_or_default() }
}

fn id(fields: &Map<String, Value>) -> Option<u64> {
    fields.get("id").and_then(Value::as_u64).filter(|id| *id <= MAX_ID)
}

#[cfg(test)]
mod tests;
