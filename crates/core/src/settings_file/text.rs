//! The text of all settings. A few of them can be changed without rendering the others again.
//!
//! Each setting is a line that begins with the names and the kind, and lines are sorted by target. So a changed entry is
//! found by binary search, and the lines between two of them are copied unchanged. Entries that this version does not
//! support follow after them.

use std::cmp::Ordering;
use std::{mem, str};

use super::render::{HEAD, SEPARATOR, close, push, push_unsupported};
use crate::kind::Kind;
use crate::setting::Setting;
use crate::stored::{Stored, Unsupported};
use crate::target::Target;

/// The current text and the one that may replace it.
#[derive(Clone, Debug, Default)]
pub struct Text {
    current: Rendered,
    proposed: Rendered,
}

#[derive(Clone, Debug, Default)]
struct Rendered {
    text: Vec<u8>,
    /// The end of the last setting.
    settings_end: usize,
}

impl Text {
    /// The text of all that is stored.
    pub fn of(stored: &Stored) -> Self {
        let mut text = Self::default();
        let settings = stored.settings.iter().map(|(target, setting)| (target, Some(&**setting)));
        text.propose(settings, stored.unsupported.values().map(|entry| &**entry));
        text.accept();
        text
    }

    /// Proposes the text with these changes, which must be sorted by target, and these unsupported entries. `None`
    /// deletes a setting.
    pub fn propose<'a>(
        &mut self,
        changes: impl IntoIterator<Item = (&'a Target, Option<&'a Setting>)>,
        unsupported: impl IntoIterator<Item = &'a Unsupported>,
    ) {
        let Rendered { text, settings_end } = &mut self.proposed;
        HEAD.clone_into(text);
        let mut rest = self.current.settings();
        for (target, setting) in changes {
            let (before, from) = rest.split_at(target);
            before.push_to(text);
            rest = from.without(target);
            if let Some(setting) = setting {
                push(target, setting, text);
            }
        }
        rest.push_to(text);
        *settings_end = text.strip_suffix(SEPARATOR).unwrap_or(text).len();
        push_unsupported(unsupported, text);
        close(text);
    }

    /// The current text.
    pub fn current(&self) -> &[u8] {
        &self.current.text
    }

    /// The text that was proposed last.
    pub fn proposed(&self) -> &[u8] {
        &self.proposed.text
    }

    /// Makes the proposed text the current one.
    pub fn accept(&mut self) {
        mem::swap(&mut self.current, &mut self.proposed);
    }
}

impl Rendered {
    /// The lines of the settings.
    fn settings(&self) -> Lines<'_> {
        // Without any entry, the text is shorter than its head.
        Lines(self.text.get(HEAD.len()..self.settings_end).unwrap_or_default())
    }
}

/// The distance from the line break of a separator to the entry after it.
const TO_ENTRY: usize = 3;

/// Entries, each followed by a separator, except perhaps the last one.
#[derive(Clone, Copy)]
struct Lines<'a>(&'a [u8]);

impl Lines<'_> {
    /// The entries before a target, and those from it on.
    fn split_at(self, target: &Target) -> (Self, Self) {
        // Lines that begin before `low` are less than the target, the line at `high` is not. Both are starts of lines.
        let (mut low, mut high) = (0, self.0.len());
        while low < high {
            let line = self.line_around(low + (high - low) / 2);
            match compare(&self.0[line..], target) {
                Ordering::Less => low = self.line_after(line),
                Ordering::Equal | Ordering::Greater => high = line,
            }
        }
        let (before, from) = self.0.split_at(low);
        (Self(before), Self(from))
    }

    /// The same without the first line, if that is the target's.
    fn without(self, target: &Target) -> Self {
        let is_present = !self.0.is_empty() && compare(self.0, target).is_eq();
        if is_present { Self(&self.0[self.line_after(0)..]) } else { self }
    }

    /// The start of the line that contains this byte; a separator belongs to the line before it.
    fn line_around(self, byte: usize) -> usize {
        let before = &self.0[..(byte + 1).saturating_sub(TO_ENTRY)];
        before.iter().rposition(|&byte| is_break(byte)).map_or(0, |at| at + TO_ENTRY)
    }

    /// The start of the line after the one that starts here.
    fn line_after(self, start: usize) -> usize {
        let at = self.0[start..].iter().position(|&byte| is_break(byte));
        at.map_or(self.0.len(), |at| start + at + TO_ENTRY)
    }

    /// Appends the entries, each with a separator.
    fn push_to(self, text: &mut Vec<u8>) {
        text.extend_from_slice(self.0);
        if !self.0.is_empty() && !self.0.ends_with(SEPARATOR) {
            text.extend_from_slice(SEPARATOR);
        }
    }
}

/// Line breaks inside an entry are escaped.
fn is_break(byte: u8) -> bool {
    byte == b'\n'
}

/// Compares the target of the line that starts here.
fn compare(line: &[u8], target: &Target) -> Ordering {
    // {"name":"NAME","namespace":"NAMESPACE","kind":"KIND", with the kind only if it is not the default. None of these
    // values can contain a quotation mark.
    let mut parts = line.split(|byte| *byte == b'"').skip(3);
    let (name, namespace) = (parts.next(), parts.nth(3));
    let kind = match (parts.nth(1), parts.nth(1)) {
        (Some(b"kind"), Some(kind)) => str::from_utf8(kind).ok().and_then(Kind::from_name),
        (_, _) => None,
    };
    let wanted = (Some(target.namespace().as_bytes()), Some(target.name().as_bytes()), target.kind());
    (namespace, name, kind.unwrap_or_default()).cmp(&wanted)
}
