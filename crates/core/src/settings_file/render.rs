//! Renders settings as text.

use jiff::Timestamp;
use serde::Serialize;

use crate::kind::Kind;
use crate::replicas::Replicas;
use crate::setting::{Enforcement, Setting};
use crate::stored::{Stored, Unsupported};
use crate::target::Target;

/// The text around entries, which take one line each.
pub(super) const HEAD: &[u8] = b"[\n  ";
pub(super) const SEPARATOR: &[u8] = b",\n  ";
pub(super) const TAIL: &[u8] = b"\n]\n";
pub(super) const EMPTY: &[u8] = b"[]\n";

/// Replaces the content of `file` with the text of all that is stored.
pub fn render(stored: &Stored, file: &mut Vec<u8>) {
    HEAD.clone_into(file);
    for (target, setting) in &stored.settings {
        push(target, setting, file);
    }
    push_unsupported(stored.unsupported.values().map(|entry| &**entry), file);
    close(file);
}

/// Appends an entry and a separator.
pub(super) fn push(target: &Target, setting: &Setting, file: &mut Vec<u8>) {
    serde_json::to_writer(&mut *file, &Entry::of(target, setting))
        .expect("an entry has only string keys, and writing to a Vec never fails");
    file.extend_from_slice(SEPARATOR);
}

/// Appends entries unchanged, each with a separator.
pub(super) fn push_unsupported<'a>(entries: impl IntoIterator<Item = &'a Unsupported>, file: &mut Vec<u8>) {
    for entry in entries {
        file.extend_from_slice(entry.json.as_bytes());
        file.extend_from_slice(SEPARATOR);
    }
}

/// Ends the text: replaces the separator after the last entry.
pub(super) fn close(file: &mut Vec<u8>) {
    match file.strip_suffix(SEPARATOR).map(<[u8]>::len) {
        Some(length) => {
            file.truncate(length);
            file.extend_from_slice(TAIL);
        }
        None => EMPTY.clone_into(file),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    // These three come first, because `Text` finds an entry by them.
    name: &'a str,
    namespace: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replicas: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temporary_replicas: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temporary_until: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    generation: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    enforcement: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    enforcement_until: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    set_by: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    set_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

impl<'a> Entry<'a> {
    fn of(target: &'a Target, setting: &'a Setting) -> Self {
        let (enforcement, enforcement_until) = match setting.enforcement {
            Enforcement::Enforce => (None, None),
            Enforcement::Ignore { until } => (Some("ignore"), until),
        };
        Self {
            name: target.name(),
            namespace: target.namespace(),
            kind: (target.kind() != Kind::default()).then(|| target.kind().as_str()),
            replicas: setting.lasting().map(Replicas::get),
            temporary_replicas: setting.hold.map(|_| setting.replicas.get()),
            temporary_until: setting.hold.map(|hold| hold.until),
            generation: (setting.generation != 1).then_some(setting.generation),
            enforcement,
            enforcement_until,
            set_by: setting.set_by.as_deref(),
            set_at: setting.set_at,
            reason: setting.reason.as_deref(),
        }
    }
}
