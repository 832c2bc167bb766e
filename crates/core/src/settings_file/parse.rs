//! Parses text into settings, and sets aside the entries that another version may have written.
//!
//! Every check runs inside a serde visitor. Only then does serde_json add the line and column of the value itself to
//! the error; a later error would get those of the text that follows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::{fmt, str};

use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::entry::{Entry, Parsed};
use super::error::SettingsFileError;
use super::unknown_keys::UnknownKeys;
use crate::entry_target::EntryTarget;
use crate::setting::Settings;
use crate::stored::{Stored, Unsupported};

/// Parses a whole settings file.
pub fn parse(text: &[u8]) -> Result<Stored, SettingsFileError> {
    let text = str::from_utf8(text).map_err(|error| {
        let (before, after) = text.split_at(error.valid_up_to());
        let message = format!("byte {:#04x} is not UTF-8", after.first().copied().unwrap_or_default());
        error_after(before, message)
    })?;
    if text.trim_ascii().is_empty() {
        return Err(error_after(b"", "the file is empty; without settings it must hold []".to_owned()));
    }
    let mut json = serde_json::Deserializer::from_str(text);
    let File { settings, set_aside, .. } = json.deserialize_seq(FileVisitor)?;
    json.end()?;
    let mut stored = Stored { settings, ..Stored::default() };
    if !set_aside.is_empty() {
        let entries: Vec<&RawValue> = serde_json::from_str(text)?;
        for (target, SetAside { position, reason, generation }) in set_aside {
            let json = entries[position].get().into();
            stored.unsupported.insert(target, Arc::new(Unsupported { reason, generation, json }));
        }
    }
    Ok(stored)
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

/// What was read of a file.
#[derive(Default)]
struct File {
    settings: Settings,
    set_aside: BTreeMap<EntryTarget, SetAside>,
    /// The number of entries.
    entries: usize,
}

/// An entry that is not supported, whose text is still to be found.
struct SetAside {
    position: usize,
    reason: Arc<str>,
    generation: u64,
}

impl File {
    fn add(&mut self, entry: Parsed) -> Result<(), String> {
        let twice = |target: &EntryTarget| Err(format!("{target} has an entry already"));
        match entry {
            Parsed::Setting(mut target, setting) => {
                if let Some((last, _)) = self.settings.last_key_value() {
                    target = target.sharing_namespace_of(last);
                }
                let key = EntryTarget::Known(target.clone());
                if self.set_aside.contains_key(&key)
                    || self.settings.insert(target, Arc::new(setting)).is_some()
                {
                    return twice(&key);
                }
            }
            Parsed::Unsupported { target, reason, generation } => {
                let has_setting = target.known().is_some_and(|target| self.settings.contains_key(target));
                if has_setting || self.set_aside.contains_key(&target) {
                    return twice(&target);
                }
                let position = self.entries;
                self.set_aside.insert(target, SetAside { position, reason, generation });
            }
        }
        self.entries += 1;
        Ok(())
    }
}

struct FileVisitor;

impl<'de> Visitor<'de> for FileVisitor {
    type Value = File;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list of settings")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<File, A::Error> {
        let mut file = File::default();
        while let Some(()) = entries.next_element_seed(EntrySeed(&mut file))? {}
        Ok(file)
    }
}

/// Reads one entry and adds it to those before it.
struct EntrySeed<'a>(&'a mut File);

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
        let mut unknown = UnknownKeys::default();
        let entry = Entry::deserialize(MapAccessDeserializer::new(unknown.skip_in(map)))?;
        let parsed = entry.parse(unknown.first()).map_err(Error::custom)?;
        self.0.add(parsed).map_err(Error::custom)
    }
}
