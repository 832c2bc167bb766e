//! Searches a `fieldsV1`, no further than needed: it is most of what an API server sends for a workload.
//!
//! A `fieldsV1` is an object whose values are again such objects. So every string is a key, and there are no other
//! values.

use memchr::{memchr2, memchr3};

/// The path to find: `f:replicas` in `f:spec`.
const PATH: [&[u8]; 2] = [b"f:spec", b"f:replicas"];

/// Whether it contains `spec.replicas`. `None`: it is cut off before that is known.
pub(super) fn own_replicas(fields: &[u8]) -> Option<bool> {
    let mut rest = fields;
    // The number of open objects, and how many of the keys that lead to the innermost one match the path.
    let (mut depth, mut matched) = (0_usize, 0_usize);
    loop {
        let at = memchr3(b'{', b'}', b'"', rest)?;
        let (byte, after) = (rest[at], &rest[at + 1..]);
        rest = after;
        match byte {
            b'{' => depth += 1,
            b'}' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(false);
                }
            }
            _ => {
                let key = string(after)?;
                rest = &after[key.len() + 1..];
                // A matched key that is a sibling of this one, or whose object has ended, no longer leads here.
                matched = matched.min(depth.checked_sub(1)?);
                if matched + 1 == depth && key == PATH[matched] {
                    matched += 1;
                    if matched == PATH.len() {
                        return Some(true);
                    }
                }
            }
        }
    }
}

/// The string that begins here, up to its closing quotation mark, with escapes unchanged.
fn string(json: &[u8]) -> Option<&[u8]> {
    let mut end = 0;
    loop {
        end += memchr2(b'"', b'\\', json.get(end..)?)?;
        if json[end] == b'"' {
            return Some(&json[..end]);
        }
        end += 2;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value};

    use super::*;

    #[test]
    fn finds_the_field_only_at_its_path() {
        let cases = [
            (r#"{"f:spec":{"f:replicas":{}}}"#, Some(true)),
            ("{ \"f:spec\" : {\n\"f:a\": {\".\": {}}, \"f:replicas\": {} } }", Some(true)),
            (r#"{"f:metadata":{"f:spec":{}},"f:spec":{"f:replicas":{}}}"#, Some(true)),
            (r#"{"f:spec":{"k:{\"f:replicas\":\"\\\"}":{},"f:replicas":{}}}"#, Some(true)),
            (r#"{"f:spec":{"f:template":{"f:replicas":{}}}}"#, Some(false)),
            (r#"{"f:status":{"f:replicas":{}},"f:spec":{}}"#, Some(false)),
            (r#"{"f:spec":{},"f:replicas":{}}"#, Some(false)),
            (r#"{"f:spec":{},"f:status":{"f:replicas":{}}}"#, Some(false)),
            (r#"{"a":{"f:spec":{"f:replicas":{}}}}"#, Some(false)),
            (r#"{"k:{\"f:spec\":{\"f:replicas\":{}}}":{}}"#, Some(false)),
            ("{}", Some(false)),
        ];
        for (fields, expected) in cases {
            assert_eq!(own_replicas(fields.as_bytes()), expected, "{fields}");
        }
    }

    #[test]
    fn returns_none_for_truncated_fields() {
        for fields in
            ["", "null", "{", r#"{"f:spec""#, r#"{"f:spec":{"f:replicas"#, r#"{"a\"#, "}", r#""f:spec""#]
        {
            assert_eq!(own_replicas(fields.as_bytes()), None, "{fields}");
        }
    }

    fn any_fields() -> impl Strategy<Value = Value> {
        let key = prop_oneof![
            Just("f:spec".to_owned()),
            Just("f:replicas".to_owned()),
            r#"[fk]:[{}"\\a:]{0,6}"#.prop_map(String::from)
        ];
        let empty = Just(Value::Object(Map::new()));
        empty.prop_recursive(4, 24, 4, move |inner| {
            prop::collection::vec((key.clone(), inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect()))
        })
    }

    proptest! {
        #[test]
        fn agrees_with_a_full_parser(fields in any_fields()) {
            let expected = fields.pointer("/f:spec/f:replicas").is_some();
            prop_assert_eq!(own_replicas(fields.to_string().as_bytes()), Some(expected));
        }

        #[test]
        fn never_panics(fields in r#"[\[\]{}":,\\a-z]{0,64}"#) {
            let _ = own_replicas(fields.as_bytes());
        }
    }
}
