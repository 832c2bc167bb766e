//! The owner of `spec.replicas`, read from `metadata.managedFields` while parsing, without keeping the rest.
//!
//! Format: <https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management>. A field manager is a
//! name that the client chose, and a count that became the default has no owner, so the answer can be "unknown" and is
//! never a guess.

mod fields;

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use jiff::Timestamp;
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// The owner of `spec.replicas`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldOwner {
    /// Who wrote it, and how.
    pub writer: Arc<Writer>,
    /// When it was written. `None` for writes through `scale`, for which Kubernetes records no time.
    pub time: Option<Timestamp>,
}

/// Who writes and how. A cluster has few writers and many workloads, so an index that shares them stays small.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Writer {
    /// The field manager, a name chosen by the client, such as `kubectl` or `helm`.
    pub manager: Box<str>,
    /// How it writes.
    pub operation: Operation,
    /// The subresource through which it writes. `None`: the workload itself.
    pub subresource: Option<Box<str>>,
}

impl FieldOwner {
    /// The field manager.
    pub fn manager(&self) -> &str {
        &self.writer.manager
    }
}

/// How a field manager wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Operation {
    /// Create, update or patch.
    Update,
    /// Server-side apply.
    Apply,
}

impl Operation {
    /// Its name in Kubernetes.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Update => "Update",
            Self::Apply => "Apply",
        }
    }

    /// Old entries without an operation are updates.
    fn parse(name: &str) -> Self {
        if name == Self::Apply.as_str() { Self::Apply } else { Self::Update }
    }
}

/// Reads a `managedFields` array and returns the one owner of `spec.replicas`.
///
/// `None` if nobody owns it, or several do: choosing the last writer would be a guess.
pub fn owner_of_replicas<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<FieldOwner>, D::Error> {
    struct Owners;

    impl<'de> Visitor<'de> for Owners {
        type Value = Option<FieldOwner>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("an array of managedFields entries")
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
            let mut found = Found::default();
            while let Some(entry) = entries.next_element::<Entry>()? {
                if entry.fields.0 {
                    found.add(entry.into_owner());
                }
            }
            Ok(found.only())
        }
    }

    deserializer.deserialize_any(Owners)
}

/// The same for entries in another encoding, in which only `fieldsV1` is JSON.
///
/// Also `None` if the `fieldsV1` of any entry cannot be parsed: that entry might own `spec.replicas`, too.
pub fn owner_among<'a>(entries: impl IntoIterator<Item = ManagedFields<'a>>) -> Option<FieldOwner> {
    let mut found = Found::default();
    for entry in entries {
        if entry.owns_replicas()? {
            found.add(entry.into_owner());
        }
    }
    found.only()
}

/// An entry of `managedFields`. Absent strings are empty; invalid UTF-8 in them is replaced.
#[derive(Clone, Copy, Debug)]
pub struct ManagedFields<'a> {
    /// `manager`.
    pub manager: &'a [u8],
    /// `operation`.
    pub operation: &'a [u8],
    /// `subresource`.
    pub subresource: &'a [u8],
    /// `time`.
    pub time: Option<Timestamp>,
    /// `fieldsV1`, as JSON. Empty: absent.
    pub fields: &'a [u8],
}

impl ManagedFields<'_> {
    /// `None` if `fields` cannot be parsed.
    fn owns_replicas(&self) -> Option<bool> {
        if self.fields.is_empty() { Some(false) } else { fields::own_replicas(self.fields) }
    }

    fn into_owner(self) -> Option<FieldOwner> {
        let non_empty = |text: &[u8]| (!text.is_empty()).then(|| String::from_utf8_lossy(text).into());
        let writer = Writer {
            manager: non_empty(self.manager)?,
            operation: Operation::parse(&String::from_utf8_lossy(self.operation)),
            subresource: non_empty(self.subresource),
        };
        Some(FieldOwner { writer: Arc::new(writer), time: self.time })
    }
}

/// The owners found so far.
#[derive(Default)]
struct Found {
    last: Option<FieldOwner>,
    count: usize,
}

impl Found {
    /// `None`: an owner without a name.
    fn add(&mut self, owner: Option<FieldOwner>) {
        self.last = owner;
        self.count += 1;
    }

    /// The owner, if there is exactly one.
    fn only(self) -> Option<FieldOwner> {
        self.last.filter(|_| self.count == 1)
    }
}

#[derive(Deserialize)]
struct Entry {
    manager: Option<Box<str>>,
    operation: Option<String>,
    subresource: Option<Box<str>>,
    time: Option<String>,
    #[serde(rename = "fieldsV1", default)]
    fields: OwnsReplicas,
}

impl Entry {
    fn into_owner(self) -> Option<FieldOwner> {
        let writer = Writer {
            manager: self.manager.filter(|manager| !manager.is_empty())?,
            operation: Operation::parse(self.operation.as_deref().unwrap_or_default()),
            subresource: self.subresource.filter(|subresource| !subresource.is_empty()),
        };
        let time = self.time.and_then(|time| time.parse().ok());
        Some(FieldOwner { writer: Arc::new(writer), time })
    }
}

/// Whether a `fieldsV1` has `f:spec` with `f:replicas` in it.
#[derive(Default)]
struct OwnsReplicas(bool);

impl<'de> Deserialize<'de> for OwnsReplicas {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spec: Option<Option<IgnoredAny>> = member::<Spec, D>(deserializer)?;
        Ok(Self(spec.flatten().is_some()))
    }
}

/// `f:spec`, read as the `f:replicas` in it.
enum Spec {}

/// `f:replicas`, of which only the presence matters.
enum ReplicasField {}

/// A member of a JSON object to read.
trait Member {
    const KEY: &'static str;
    type Value;

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self::Value, D::Error>;
}

impl Member for Spec {
    const KEY: &'static str = "f:spec";
    type Value = Option<IgnoredAny>;

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self::Value, D::Error> {
        member::<ReplicasField, D>(deserializer)
    }
}

impl Member for ReplicasField {
    const KEY: &'static str = "f:replicas";
    type Value = IgnoredAny;

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self::Value, D::Error> {
        IgnoredAny::deserialize(deserializer)
    }
}

/// Reads member `M` of an object and skips all others.
fn member<'de, M: Member, D: Deserializer<'de>>(deserializer: D) -> Result<Option<M::Value>, D::Error> {
    deserializer.deserialize_any(MemberVisitor::<M>(PhantomData))
}

struct MemberVisitor<M>(PhantomData<M>);

impl<'de, M: Member> Visitor<'de> for MemberVisitor<M> {
    type Value = Option<M::Value>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object of owned fields")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(IsKey(matches, _)) = map.next_key_seed(KeySeed::<M>(PhantomData))? {
            if matches {
                found = Some(map.next_value_seed(MemberSeed::<M>(PhantomData))?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

/// Whether a key is that of `M`. The key itself is not kept.
struct IsKey<M>(bool, PhantomData<M>);

struct KeySeed<M>(PhantomData<M>);

impl<'de, M: Member> serde::de::DeserializeSeed<'de> for KeySeed<M> {
    type Value = IsKey<M>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl<M: Member> Visitor<'_> for KeySeed<M> {
    type Value = IsKey<M>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(IsKey(key == M::KEY, PhantomData))
    }
}

struct MemberSeed<M>(PhantomData<M>);

impl<'de, M: Member> serde::de::DeserializeSeed<'de> for MemberSeed<M> {
    type Value = M::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        M::read(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(json: &str) -> Result<Option<FieldOwner>, serde_json::Error> {
        owner_of_replicas(&mut serde_json::Deserializer::from_str(json))
    }

    #[track_caller]
    fn check(json: &str, expected: Option<(&str, Operation, Option<&str>, Option<&str>)>) {
        let owner = parse(json).expect("valid");
        let expected = expected.map(|(manager, operation, subresource, time)| {
            let writer =
                Writer { manager: manager.into(), operation, subresource: subresource.map(Box::from) };
            let time = time.map(|time| time.parse().expect("valid time"));
            FieldOwner { writer: Arc::new(writer), time }
        });
        assert_eq!(owner, expected);
    }

    #[test]
    fn finds_the_owner() {
        check(
            r#"[{"manager":"kubectl-create","operation":"Update","apiVersion":"apps/v1","time":"2026-01-02T03:04:05Z",
                 "fieldsType":"FieldsV1","fieldsV1":{"f:metadata":{"f:labels":{".":{},"f:app":{}}},
                 "f:spec":{"f:progressDeadlineSeconds":{},"f:replicas":{},"f:template":{"f:spec":{"f:x":{}}}}}},
                {"manager":"kube-controller-manager","operation":"Update","subresource":"status",
                 "fieldsV1":{"f:status":{"f:replicas":{}}}}]"#,
            Some(("kubectl-create", Operation::Update, None, Some("2026-01-02T03:04:05Z"))),
        );
        check(
            r#"[{"manager":"kubectl","operation":"Update","subresource":"scale","fieldsV1":{"f:spec":{"f:replicas":{}}}}]"#,
            Some(("kubectl", Operation::Update, Some("scale"), None)),
        );
        check(
            r#"[{"manager":"helm","operation":"Apply","time":"later","fieldsV1":{"f:spec":{"f:replicas":{}}}}]"#,
            Some(("helm", Operation::Apply, None, None)),
        );
    }

    #[test]
    fn returns_unknown_rather_than_a_guess() {
        check("[]", None);
        check("null", None);
        check(
            r#"[{"manager":"a","fieldsV1":{"f:status":{"f:replicas":{}}}},{"manager":"b"},{"fieldsV1":null}]"#,
            None,
        );
        check(r#"[{"manager":"a","fieldsV1":{"f:spec":{"f:template":{"f:replicas":{}}}}}]"#, None);
        check(r#"[{"fieldsV1":{"f:spec":{"f:replicas":{}}}}]"#, None);
        let shared = r#"{"manager":"a","operation":"Apply","fieldsV1":{"f:spec":{"f:replicas":{}}}}"#;
        check(&format!("[{shared},{shared}]"), None);
    }

    #[test]
    fn finds_the_owner_among_entries_in_another_encoding() {
        const REPLICAS: &str = r#"{"f:spec":{"f:replicas":{}}}"#;
        let entry = |manager: &'static str, fields: &'static str| ManagedFields {
            manager: manager.as_bytes(),
            operation: b"Apply",
            subresource: b"",
            time: Some(Timestamp::UNIX_EPOCH),
            fields: fields.as_bytes(),
        };
        let none = |manager| entry(manager, "");
        let others = |manager| entry(manager, r#"{"f:status":{"f:replicas":{}}}"#);
        let owner = owner_among([none("a"), entry("helm", REPLICAS), others("b")]);
        let writer = Writer { manager: "helm".into(), operation: Operation::Apply, subresource: None };
        let expected = FieldOwner { writer: Arc::new(writer), time: Some(Timestamp::UNIX_EPOCH) };
        assert_eq!(owner, Some(expected));

        let unknown: [&[ManagedFields<'_>]; 5] = [
            &[],
            &[none("a"), others("b")],
            &[entry("a", REPLICAS), entry("b", REPLICAS)],
            &[entry("", REPLICAS)],
            &[entry("a", REPLICAS), entry("b", "{\"f:spec\"")],
        ];
        for entries in unknown {
            assert_eq!(owner_among(entries.iter().copied()), None, "{entries:?}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(json in r#"[\[\]{}":,a-z0-9]{0,64}"#) {
            let _ = parse(&json);
        }
    }
}
