//! The unique identity of an object in the cluster. A re-created object of the same name has another one.

use std::fmt;

/// A `metadata.uid`. A UUID, which is what API servers create, takes only 16 bytes: every workload has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uid(Form);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    Uuid([u8; 16]),
    Other(Box<str>),
}

/// The positions of the hyphens in a UUID, and its length with them.
const HYPHENS: [usize; 4] = [8, 13, 18, 23];
const LENGTH: usize = 36;

impl From<&str> for Uid {
    fn from(text: &str) -> Self {
        Self(parse_uuid(text).map_or_else(|| Form::Other(text.into()), Form::Uuid))
    }
}

impl From<String> for Uid {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = match &self.0 {
            Form::Uuid(bytes) => bytes,
            Form::Other(text) => return formatter.write_str(text),
        };
        for (position, byte) in bytes.iter().enumerate() {
            let hyphen = if matches!(position, 4 | 6 | 8 | 10) { "-" } else { "" };
            write!(formatter, "{hyphen}{byte:02x}")?;
        }
        Ok(())
    }
}

/// Parses a UUID. `None` also if it is written differently, such as in capitals, because it must be displayed
/// unchanged.
fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    let mut number = 0_u128;
    for (position, byte) in text.bytes().enumerate() {
        let digit = match byte {
            b'-' if HYPHENS.contains(&position) => continue,
            _ if HYPHENS.contains(&position) => return None,
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => return None,
        };
        number = number << 4 | u128::from(digit);
    }
    (text.len() == LENGTH).then_some(number.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_displayed_unchanged() {
        let uuids = ["0f8fad5b-d9cb-469f-a165-70867728950e", "00000000-0000-0000-0000-000000000000"];
        let others = [
            "",
            "u-1",
            "0F8FAD5B-d9cb-469f-a165-70867728950e",
            "0f8fad5bd9cb-469f-a165-70867728950e",
            "0f8fad5b-d9cb-469f-a165-70867728950",
            "0f8fad5b0d9cb-469f-a165-70867728950e",
            "0f8fad5-bd9cb-469f-a165-70867728950e",
            "0f8fad5b-d9cb-469f-a165-70867728950e0",
            "10f8fad5b-d9cb-469f-a165-70867728950e",
            "ä",
        ];
        for text in uuids.iter().chain(&others) {
            let uid = Uid::from(*text);
            assert_eq!(uid.to_string(), *text);
            assert_eq!(matches!(uid.0, Form::Uuid(_)), uuids.contains(text), "{text}");
        }
    }

    #[test]
    fn distinguishes_objects() {
        let [one, other] = ["0f8fad5b-d9cb-469f-a165-70867728950e", "0f8fad5b-d9cb-469f-a165-70867728950f"];
        assert_eq!(Uid::from(one), Uid::from(one.to_owned()));
        assert_ne!(Uid::from(one), Uid::from(other));
    }
}
