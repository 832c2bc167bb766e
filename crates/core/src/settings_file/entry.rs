//! One entry of the file.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer};

use super::value::{IntegerVisitor, text};
use crate::entry_target::{EntryTarget, OtherTarget, check_other_kind};
use crate::kind::Kind;
use crate::replicas::Replicas;
use crate::setting::{Enforcement, Hold, Setting};
use crate::target::{self, Target};

/// The keys that this version knows.
pub(super) const KEYS: [&str; 12] = [
    "name",
    "namespace",
    "kind",
    "replicas",
    "temporaryReplicas",
    "temporaryUntil",
    "generation",
    "enforcement",
    "enforcementUntil",
    "setBy",
    "setAt",
    "reason",
];
/// The longest part of an unknown word that is quoted, in characters.
const QUOTED: usize = 64;

/// An entry, each value of which is valid.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entry {
    #[serde(deserialize_with = "name")]
    name: String,
    #[serde(deserialize_with = "namespace")]
    namespace: String,
    #[serde(default, deserialize_with = "kind")]
    kind: AnyKind,
    #[serde(default, deserialize_with = "replicas")]
    replicas: Option<Replicas>,
    #[serde(default, deserialize_with = "replicas")]
    temporary_replicas: Option<Replicas>,
    #[serde(default, deserialize_with = "time")]
    temporary_until: Option<Timestamp>,
    #[serde(default = "first_generation", deserialize_with = "generation")]
    generation: u64,
    #[serde(default, deserialize_with = "mode")]
    enforcement: Mode,
    #[serde(default, deserialize_with = "time")]
    enforcement_until: Option<Timestamp>,
    #[serde(default, deserialize_with = "any_text")]
    set_by: Option<String>,
    #[serde(default, deserialize_with = "time")]
    set_at: Option<Timestamp>,
    #[serde(default, deserialize_with = "any_text")]
    reason: Option<String>,
}

enum AnyKind {
    Known(Kind),
    Other(String),
}

impl Default for AnyKind {
    fn default() -> Self {
        Self::Known(Kind::default())
    }
}

#[derive(Default)]
enum Mode {
    #[default]
    Enforce,
    Ignore,
    Other(String),
}

/// What an entry says.
pub(super) enum Parsed {
    Setting(Target, Setting),
    /// Something that this version does not know.
    Unsupported {
        target: EntryTarget,
        reason: Arc<str>,
        generation: u64,
    },
}

impl Entry {
    /// Parses an entry, which may also have a key that is not known.
    pub(super) fn parse(self, unknown_key: Option<&str>) -> Result<Parsed, String> {
        let generation = self.generation;
        let unsupported = |target, what, word: &str| {
            let reason = reason(what, word);
            Ok(Parsed::Unsupported { target, reason, generation })
        };
        let target = match self.kind {
            AnyKind::Known(kind) => Target::new(kind, &self.namespace, &self.name).map_err(text_of)?,
            AnyKind::Other(kind) => {
                let target = OtherTarget::new(&kind, &self.namespace, &self.name).map_err(text_of)?;
                return unsupported(EntryTarget::Other(target), "kind", &kind);
            }
        };
        if let Some(key) = unknown_key {
            return unsupported(target.into(), "key", key);
        }
        let (replicas, hold) = match (self.replicas, self.temporary_replicas, self.temporary_until) {
            (afterwards, Some(temporary), Some(until)) => (temporary, Some(Hold { until, afterwards })),
            (Some(replicas), None, None) => (replicas, None),
            (None, None, None) => return Err("missing field `replicas`".to_owned()),
            (_, Some(_), None) => {
                return Err("temporaryReplicas has no meaning without temporaryUntil".to_owned());
            }
            (_, None, Some(_)) => {
                return Err("temporaryUntil has no meaning without temporaryReplicas".to_owned());
            }
        };
        let enforcement = match (self.enforcement, self.enforcement_until) {
            (Mode::Ignore, until) => Enforcement::Ignore { until },
            (Mode::Enforce, None) => Enforcement::Enforce,
            (Mode::Enforce, Some(_)) => {
                return Err(r#"enforcementUntil has no meaning without "enforcement": "ignore""#.to_owned());
            }
            (Mode::Other(mode), _) => return unsupported(target.into(), "enforcement", &mode),
        };
        let Self { set_by, set_at, reason, .. } = self;
        let setting = Setting { replicas, hold, generation, enforcement, set_by, set_at, reason };
        Ok(Parsed::Setting(target, setting))
    }
}

fn reason(what: &str, word: &str) -> Arc<str> {
    let quoted: String = word.chars().take(QUOTED).collect();
    format!("this version does not know the {what} {quoted:?}").into()
}

fn text_of(error: impl std::error::Error) -> String {
    error.to_string()
}

fn first_generation() -> u64 {
    1
}

fn name<'de, D: Deserializer<'de>>(value: D) -> Result<String, D::Error> {
    text(value, "the name of a workload", |name| match target::check_name(name) {
        Ok(()) => Ok(name.to_owned()),
        Err(error) => Err(error.to_string()),
    })
}

fn namespace<'de, D: Deserializer<'de>>(value: D) -> Result<String, D::Error> {
    text(value, "the name of a namespace", |namespace| match target::check_namespace(namespace) {
        Ok(()) => Ok(namespace.to_owned()),
        Err(error) => Err(error.to_string()),
    })
}

fn kind<'de, D: Deserializer<'de>>(value: D) -> Result<AnyKind, D::Error> {
    text(value, "the kind of a workload", |kind| match Kind::from_name(kind) {
        Some(kind) => Ok(AnyKind::Known(kind)),
        None => match check_other_kind(kind) {
            Ok(()) => Ok(AnyKind::Other(kind.to_owned())),
            Err(error) => Err(error.to_string()),
        },
    })
}

fn mode<'de, D: Deserializer<'de>>(value: D) -> Result<Mode, D::Error> {
    text(value, r#""enforce" or "ignore""#, |mode| match mode {
        "enforce" => Ok(Mode::Enforce),
        "ignore" => Ok(Mode::Ignore),
        other => Ok(Mode::Other(other.to_owned())),
    })
}

fn time<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Timestamp>, D::Error> {
    text(value, "a time such as 2026-01-31T12:00:00Z", |time| match time.parse() {
        Ok(time) => Ok(Some(time)),
        Err(_) => Err(format!("{time:?} is not a time such as 2026-01-31T12:00:00Z")),
    })
}

fn any_text<'de, D: Deserializer<'de>>(value: D) -> Result<Option<String>, D::Error> {
    text(value, "text", |text| Ok(Some(text.to_owned())))
}

fn replicas<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Replicas>, D::Error> {
    let count = |count| Replicas::new(count).map(Some).map_err(|error| error.to_string());
    value.deserialize_i64(IntegerVisitor {
        expected: "a whole number from 0 to 2147483647 as replicas",
        check: |number| i32::try_from(number).ok().map(count),
    })
}

fn generation<'de, D: Deserializer<'de>>(value: D) -> Result<u64, D::Error> {
    value.deserialize_u64(IntegerVisitor {
        expected: "a whole number above 0 as generation",
        check: |generation| u64::try_from(generation).ok().filter(|generation| *generation > 0).map(Ok),
    })
}
