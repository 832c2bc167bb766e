//! The keys of an entry that this version does not know.

use serde::de::{DeserializeSeed, Error, IgnoredAny, IntoDeserializer, MapAccess};

use super::entry::KEYS;

/// The keys of one entry that this version does not know.
#[derive(Default)]
pub(super) struct UnknownKeys(Vec<String>);

impl UnknownKeys {
    /// The same map without the unknown keys, which are added here while it is read.
    pub(super) fn skip_in<A>(&mut self, map: A) -> KnownKeys<'_, A> {
        KnownKeys { map, unknown: self }
    }

    pub(super) fn first(&self) -> Option<&str> {
        self.0.first().map(String::as_str)
    }
}

/// A map that shows only its known keys.
pub(super) struct KnownKeys<'a, A> {
    map: A,
    unknown: &'a mut UnknownKeys,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for KnownKeys<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        while let Some(key) = self.map.next_key::<String>()? {
            if KEYS.contains(&&*key) {
                return seed.deserialize(key.into_deserializer()).map(Some);
            }
            if self.unknown.0.contains(&key) {
                return Err(Error::custom(format_args!("duplicate field `{key}`")));
            }
            self.unknown.0.push(key);
            self.map.next_value::<IgnoredAny>()?;
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.map.next_value_seed(seed)
    }
}
