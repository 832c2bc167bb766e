//! The newest entries of one target as short lines, which fit beside its setting in an object of Kubernetes.
//!
//! A line is the entry as JSON, without the target. What cannot be read, such as an event of a later version, is left out.

use std::sync::Arc;

use serde_json::Value;

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

/// What the oldest line says if there is no room for some that nobody has read.
const GAP: &str = "gap";

/// What is read of lines.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Decoded {
    /// The entries that were not known, oldest first.
    pub entries: Vec<Entry>,
    /// Whether there were more, of which nothing is known.
    pub has_gap: bool,
}

/// The lines of a target, oldest first. `entries` are its entries, newest first. Only those after its setting was last
/// deleted become lines. The last drift is always one of them, because it has the number of drifts. Up to the id `known`,
/// others have read the entries.
pub fn encode<'a>(entries: impl Iterator<Item = &'a Arc<Entry>>, known: u64) -> Vec<String> {
    let (mut lines, mut bytes, mut has_drift, mut has_gap) = (Vec::new(), 0, false, false);
    for entry in entries.take_while(|entry| entry.what != What::Deleted) {
        let is_drift = entry.what == What::Drifted;
        let has_room = lines.len() < MAX_LINES && bytes < MAX_BYTES - MAX_LINE_BYTES;
        // Without room, only the last drift still has some.
        if !has_room && (has_drift || !is_drift) {
            has_gap |= entry.id > known;
            if has_drift {
                break;
            }
            continue;
        }
        let line = to_line(entry);
        if line.to_string().len() > MAX_LINE_BYTES {
            has_gap |= entry.id > known;
            continue;
        }
        has_drift |= is_drift;
        bytes += line.to_string().len();
        lines.push(line);
    }
    if let Some(Value::Object(oldest)) = lines.last_mut().filter(|_| has_gap) {
        oldest.insert(GAP.to_owned(), true.into());
    }
    lines.iter().rev().map(Value::to_string).collect()
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
    let mut decoded = Decoded::default();
    for line in lines.iter().rev() {
        let Ok(Value::Object(mut fields)) = serde_json::from_str(line) else { continue };
        if fields.get("id").and_then(Value::as_u64).is_some_and(|id| id <= known) {
            break;
        }
        decoded.has_gap |= fields.get(GAP).and_then(Value::as_bool) == Some(true);
        fields.insert(TARGET.to_owned(), Value::String(target.to_string()));
        let entry: Option<Entry> = serde_json::from_value(Value::Object(fields)).ok();
        decoded.entries.extend(entry.filter(|entry| entry.id > known && entry.id < u64::MAX));
    }
    decoded.entries.reverse();
    decoded
}

/// The id of the newest line. 0: there is none that can be read.
pub fn newest_id(lines: &[String]) -> u64 {
    let id = |line: &String| serde_json::from_str::<Value>(line).ok()?.get("id")?.as_u64();
    lines.iter().rev().find_map(id).unwrap_or_default()
}

#[cfg(test)]
mod tests;
