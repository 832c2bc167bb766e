//! Values of keys, with what is expected of them.

use std::fmt;

use serde::Deserializer;
use serde::de::{Error, Unexpected, Visitor};

/// Reads a string that `check` accepts.
pub(super) fn text<'de, D: Deserializer<'de>, T>(
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
pub(super) struct IntegerVisitor<F> {
    pub(super) expected: &'static str,
    pub(super) check: F,
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
