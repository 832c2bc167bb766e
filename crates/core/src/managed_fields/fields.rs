//! What a `fieldsV1` says, read no further than needed: it is most of what an API server sends of a Deployment.
//!
//! It is an object whose values are objects of the same kind, to the end: texts are keys, and there is nothing else.

use memchr::{memchr2, memchr3};

/// What is looked for: in `f:spec`, `f:replicas`.
const PATH: [&[u8]; 2] = [b"f:spec", b"f:replicas"];

/// Whether it has `spec.replicas`; `None` if that cannot be said, as it breaks off before.
pub(super) fn own_replicas(fields: &[u8]) -> Option<bool> {
    let mut rest = fields;
    // Objects that are open, and how many of the keys that lead to the innermost are those of the path.
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
                let key = text(after)?;
                rest = &after[key.len() + 1..];
                // Beside a key of the path or outside of its object, that key no longer leads here.
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

/// The text that begins here, up to the quotation mark that ends it, with its escapes as they stand.
fn text(json: &[u8]) -> Option<&[u8]> {
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
    fn looks_where_the_field_is() {
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
    fn says_nothing_of_what_breaks_off() {
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
        fn agrees_with_a_reader_of_everything(fields in any_fields()) {
            let expected = fields.pointer("/f:spec/f:replicas").is_some();
            prop_assert_eq!(own_replicas(fields.to_string().as_bytes()), Some(expected));
        }

        #[test]
        fn never_panics(fields in r#"[\[\]{}":,\\a-z]{0,64}"#) {
            let _ = own_replicas(fields.as_bytes());
        }
    }
}
