//! From settings to text.

use jiff::Timestamp;
use serde::Serialize;

use crate::setting::{Enforcement, Setting};
use crate::target::Target;

/// Replaces the content of `file` by the text of `settings`, which come in the order in which they shall stand.
///
/// The caller keeps the buffer, so that writing thousands of settings again and again does not allocate.
#[expect(clippy::missing_panics_doc, reason = "it cannot panic")]
pub fn render<'a>(settings: impl IntoIterator<Item = (&'a Target, &'a Setting)>, file: &mut Vec<u8>) {
    file.clear();
    let mut before = &b"[\n  "[..];
    for (target, setting) in settings {
        file.extend_from_slice(before);
        serde_json::to_writer(&mut *file, &Entry::of(target, setting))
            .expect("an entry has only text keys, and a Vec takes every byte");
        before = b",\n  ";
    }
    file.extend_from_slice(if file.is_empty() { b"[]\n" } else { b"\n]\n" });
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    name: &'a str,
    namespace: &'a str,
    replicas: i32,
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
            replicas: setting.replicas.get(),
            generation: (setting.generation != 1).then_some(setting.generation),
            enforcement,
            enforcement_until,
            set_by: setting.set_by.as_deref(),
            set_at: setting.set_at,
            reason: setting.reason.as_deref(),
        }
    }
}
