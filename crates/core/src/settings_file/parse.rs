//! Parses text into settings.
//!
//! Every check runs inside a serde visitor. Only then does serde_json add the line and column of the value itself to
//! the error; a later error would get those of the text that follows.

use std::sync::Arc;
use std::{fmt, str};

use jiff::Timestamp;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};

use super::error::SettingsFileError;
use crate::kind::Kind;
use crate::replicas::Replicas;
use crate::setting::{Enforcement, Setting, Settings};
use crate::target::{self, Target};

/// Parses a whole settings file.
pub fn parse(text: &[u8]) -> Result<Settings, SettingsFileError> {
    let text = str::from_utf8(text).map_err(|error| {
        let (before, after) = text.split_at(error.valid_up_to());
        let message = format!("byte {:#04x} is not UTF-8", after.first().copied().unwrap_or_default());
        error_after(before, message)
    })?;
    if text.trim_ascii().is_empty() {
        return Err(error_after(b"", "the file is empty; without settings it must hold []".to_owned()));
    }
    let mut json = serde_json::Deserializer::from_str(text);
    let settings = json.deserialize_seq(FileVisitor)?;
    json.end()?;
    Ok(settings)
}

/// An error at the byte that follows `before`.
fn error_after(before: &[u8], message: String) -> SettingsFileError {
    let lines = before.split(|byte| *byte == b'\n');
    let column = lines.clone().next_back().map_or(0, <[u8]>::len) + 1;
    SettingsFileError { line: lines.count(), column, message }
}

impl From<serde_json::Error> for SettingsFileError {
    fn from(error: serde_json::Error) -> Self {
        let (line, column) = (error.line(), error.column());
        let text = error.to_string();
        let message = text.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&text);
        Self { line, column, message: message.to_owned() }
    }
}

struct FileVisitor;

impl<'de> Visitor<'de> for FileVisitor {
    type Value = Settings;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list of settings")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Settings, A::Error> {
        let mut settings = Settings::new();
        while let Some(()) = entries.next_element_seed(EntrySeed(&mut settings))? {}
        Ok(settings)
    }
}

/// Reads one entry and adds it to the settings before it.
struct EntrySeed<'a>(&'a mut Settings);

impl<'de> DeserializeSeed<'de> for EntrySeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, entry: D) -> Result<(), D::Error> {
        entry.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for EntrySeed<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(r#"a setting such as {"name": "web", "namespace": "default", "replicas": 3}"#)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        let entry = Entry::deserialize(MapAccessDeserializer::new(map))?;
        let mut target = Target::new(entry.kind, &entry.namespace, &entry.name).map_err(Error::custom)?;
        if let Some((last, _)) = self.0.last_key_value() {
            target = target.sharing_namespace_of(last);
        }
        if self.0.contains_key(&target) {
            return Err(Error::custom(format_args!("{target} has an entry already")));
        }
        let setting = entry.into_setting().map_err(Error::custom)?;
        self.0.insert(target, Arc::new(setting));
        Ok(())
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Entry {
    #[serde(deserialize_with = "name")]
    name: String,
    #[serde(deserialize_with = "namespace")]
    namespace: String,
    #[serde(default, deserialize_with = "kind")]
    kind: Kind,
    #[serde(deserialize_with = "replicas")]
    replicas: Replicas,
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

#[derive(Default)]
enum Mode {
    #[default]
    Enforce,
    Ignore,
}

impl Entry {
    fn into_setting(self) -> Result<Setting, &'static str> {
        let enforcement = match (self.enforcement, self.enforcement_until) {
            (Mode::Ignore, until) => Enforcement::Ignore { until },
            (Mode::Enforce, None) => Enforcement::Enforce,
            (Mode::Enforce, Some(_)) => {
                return Err(r#"enforcementUntil has no meaning without "enforcement": "ignore""#);
            }
        };
        Ok(Setting {
            replicas: self.replicas,
            generation: self.generation,
            enforcement,
            set_by: self.set_by,
            set_at: self.set_at,
            reason: self.reason,
        })
    }
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

fn kind<'de, D: Deserializer<'de>>(value: D) -> Result<Kind, D::Error> {
    text(value, "the kind of a workload", |kind| {
        let known = || Kind::ALL.map(Kind::as_str).join(", ");
        Kind::from_name(kind).ok_or_else(|| format!("kind {kind:?} is not known; known are: {}", known()))
    })
}

fn mode<'de, D: Deserializer<'de>>(value: D) -> Result<Mode, D::Error> {
    text(value, r#""enforce" or "ignore""#, |mode| match mode {
        "enforce" => Ok(Mode::Enforce),
        "ignore" => Ok(Mode::Ignore),
        other => Err(format!(r#"enforcement {other:?} is neither "enforce" nor "ignore""#)),
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

fn replicas<'de, D: Deserializer<'de>>(value: D) -> Result<Replicas, D::Error> {
    value.deserialize_i64(IntegerVisitor {
        expected: "a whole number from 0 to 2147483647 as replicas",
        check: |count| i32::try_from(count).ok().map(|count| Replicas::new(count).map_err(|e| e.to_string())),
    })
}

fn generation<'de, D: Deserializer<'de>>(value: D) -> Result<u64, D::Error> {
    value.deserialize_u64(IntegerVisitor {
        expected: "a whole number above 0 as generation",
        check: |generation| u64::try_from(generation).ok().filter(|generation| *generation > 0).map(Ok),
    })
}

/// Reads a string that `check` accepts.
fn text<'de, D: Deserializer<'de>, T>(
    value: D,
    expected: &'static str,
    check: impl FnOnce(&str) -> Result<T, String>,
) -> Result<T, D::Error> {
    value.deserialize_str(TextVisitor { expected, check })
}

struct TextVisitor<F> {
    expected: &'static str,
    check: F,
}

impl<T, F: FnOnce(&str) -> Result<T, String>> Visitor<'_> for TextVisitor<F> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.expected)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        (self.check)(text).map_err(E::custom)
    }
}

/// Reads a whole number. `check` returns `None` if it is out of range.
struct IntegerVisitor<F> {
    expected: &'static str,
    check: F,
}

impl<T, F: FnOnce(i128) -> Option<Result<T, String>>> Visitor<'_> for IntegerVisitor<F> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.expected)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        let expected = self.expected;
        match (self.check)(number.into()) {
            Some(checked) => checked.map_err(E::custom),
            None => Err(E::invalid_value(Unexpected::Signed(number), &expected)),
        }
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        let expected = self.expected;
        match (self.check)(number.into()) {
            Some(checked) => checked.map_err(E::custom),
            None => Err(E::invalid_value(Unexpected::Unsigned(number), &expected)),
        }
    }
}
