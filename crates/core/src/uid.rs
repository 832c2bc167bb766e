//! The identity of an object in the cluster, which no other object has, not even one of the same name later.

use std::fmt;

/// A `metadata.uid`, in 16 bytes where it is a UUID, as API servers make them: there is one for each Deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uid(Form);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    Uuid([u8; 16]),
    Other(Box<str>),
}

/// Where a UUID has hyphens, and how long it is with them.
const HYPHENS: [usize; 4] = [8, 13, 18, 23];
const LENGTH: usize = 36;

impl From<&str> for Uid {
    fn from(text: &str) -> Self {
        Self(uuid(text).map_or_else(|| Form::Other(text.into()), Form::Uuid))
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

/// Reads a UUID. `None` as well if it is written in another way, such as in capitals: it must stay as it is.
fn uuid(text: &str) -> Option<[u8; 16]> {
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
    fn stays_what_it_was() {
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
    fn tells_objects_apart() {
        let [one, other] = ["0f8fad5b-d9cb-469f-a165-70867728950e", "0f8fad5b-d9cb-469f-a165-70867728950f"];
        assert_eq!(Uid::from(one), Uid::from(one.to_owned()));
        assert_ne!(Uid::from(one), Uid::from(other));
    }
}
