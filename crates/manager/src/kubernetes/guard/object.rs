//! A `ReplicaGuard` as this server reads and writes it.

use std::collections::BTreeMap;

use replica_count_core::guard::{Counts, Kept, Mode};
use replica_count_core::own_writes::FIELD_MANAGER;
use replica_count_core::replicas::Replicas;
use serde::{Deserialize, Serialize};

use crate::kubernetes::MalformedObject;
use crate::kubernetes::watch::Object;

/// The kind, for messages.
pub(super) const KIND: &str = "ReplicaGuard";
/// The group and version.
pub(super) const API_VERSION: &str = "replicacount.dev/v1alpha1";

/// What the guard of one namespace holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    /// What policies do. `None`: not a known mode.
    pub mode: Option<Mode>,
    /// Whether somebody has suspended the guard of this namespace.
    pub is_suspended: bool,
    /// How people change a count, for messages of policies.
    pub how: String,
    /// The counts that are kept.
    pub counts: Counts,
}

impl Guard {
    /// Whether both hold the same, apart from what only people write.
    pub fn is_same_as(&self, other: &Self) -> bool {
        (self.mode, &self.how, &self.counts) == (other.mode, &other.how, &other.counts)
    }
}

/// One version of one object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.resourceVersion`. `None`: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_version: Option<String>,
}

/// A guard from the API server.
#[derive(Clone, Debug, Deserialize)]
pub struct ReplicaGuard {
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Metadata {
    namespace: String,
    name: String,
    uid: String,
    resource_version: Option<String>,
    managed_fields: Vec<ManagedFields>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct ManagedFields {
    manager: String,
    time: Option<String>,
}

/// The `spec`, which is also what is written.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct Spec {
    mode: String,
    #[serde(skip_serializing)]
    suspended: bool,
    how: String,
    counts: BTreeMap<String, Entry>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct Entry {
    replicas: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    set_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl ReplicaGuard {
    /// The namespace and the name.
    pub fn key(&self) -> (&str, &str) {
        (&self.metadata.namespace, &self.metadata.name)
    }

    /// The version, if comparable.
    pub fn version(&self) -> Option<u64> {
        self.metadata.resource_version.as_ref()?.parse().ok()
    }

    /// Which object this is.
    pub fn identity(&self) -> Identity {
        let Metadata { uid, resource_version, .. } = &self.metadata;
        Identity { uid: uid.clone(), resource_version: resource_version.clone() }
    }

    /// The field manager that wrote last, apart from this server. `None`: not known.
    pub fn author(&self) -> Option<&str> {
        let others = self.metadata.managed_fields.iter().filter(|fields| fields.manager != FIELD_MANAGER);
        // RFC 3339 in UTC, so their order as text is that of time.
        others.max_by_key(|fields| fields.time.as_deref()).map(|fields| fields.manager.as_str())
    }

    /// The field manager that wrote last. `None`: not known.
    pub fn last_writer(&self) -> Option<&str> {
        // Times are in whole seconds: who else wrote in the same one was later, or this server would know.
        let fields = self.metadata.managed_fields.iter();
        let last = fields.max_by_key(|fields| (fields.time.as_deref(), fields.manager != FIELD_MANAGER));
        last.map(|fields| fields.manager.as_str())
    }

    /// What it holds. Counts that are not valid are left out.
    pub fn guard(&self) -> Guard {
        let Spec { mode, suspended, how, counts } = &self.spec;
        let kept = |(key, entry): (&String, &Entry)| {
            let replicas = Replicas::new(entry.replicas?).ok()?;
            Some((key.clone(), Kept { replicas, set_by: entry.set_by.clone(), reason: entry.reason.clone() }))
        };
        Guard {
            mode: Mode::from_name(mode),
            is_suspended: *suspended,
            how: how.clone(),
            counts: counts.iter().filter_map(kept).collect(),
        }
    }

    /// Checks that it has a namespace and a name.
    pub fn check(self) -> Result<Self, MalformedObject> {
        let (namespace, name) = self.key();
        if namespace.is_empty() || name.is_empty() {
            let (namespace, name) = (namespace.to_owned(), name.to_owned());
            let reason = "has no namespace or no name".to_owned();
            return Err(MalformedObject { kind: KIND, namespace, name, reason });
        }
        Ok(self)
    }
}

impl Object for ReplicaGuard {
    /// The API server has no protobuf of custom resources.
    type Message = ();

    fn resource_version(&self) -> Option<&str> {
        self.metadata.resource_version.as_deref()
    }
}

/// Never needed; what it returns is refused as malformed.
impl From<()> for ReplicaGuard {
    fn from((): ()) -> Self {
        Self { metadata: Metadata::default(), spec: Spec::default() }
    }
}

impl From<&Guard> for Spec {
    fn from(guard: &Guard) -> Self {
        let entry = |(key, kept): (&String, &Kept)| {
            let Kept { replicas, set_by, reason } = kept.clone();
            (key.clone(), Entry { replicas: Some(replicas.get()), set_by, reason })
        };
        Self {
            mode: guard.mode.map(Mode::as_str).unwrap_or_default().to_owned(),
            suspended: guard.is_suspended,
            how: guard.how.clone(),
            counts: guard.counts.iter().map(entry).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> ReplicaGuard {
        serde_json::from_str(json).expect("valid")
    }

    #[test]
    fn what_is_written_is_read() {
        let kept = |n, set_by: Option<&str>| Kept {
            replicas: Replicas::new(n).expect("valid"),
            set_by: set_by.map(str::to_owned),
            reason: None,
        };
        let guard = Guard {
            mode: Some(Mode::Correct),
            is_suspended: false,
            how: "ask".to_owned(),
            counts: [
                ("deployments/web".to_owned(), kept(0, Some("ann"))),
                ("statefulsets/db".to_owned(), kept(3, None)),
            ]
            .into(),
        };
        let spec = serde_json::to_string(&Spec::from(&guard)).expect("JSON");
        assert_eq!(
            spec,
            r#"{"mode":"correct","how":"ask","counts":{"deployments/web":{"replicas":0,"setBy":"ann"},"statefulsets/db":{"replicas":3}}}"#
        );
        let read = parse(&format!(r#"{{"metadata":{{"name":"g","namespace":"shop"}},"spec":{spec}}}"#));
        assert_eq!(read.guard(), guard);
        assert_eq!(read.check().expect("valid").key(), ("shop", "g"));
    }

    #[test]
    fn nothing_that_people_write_is_fatal() {
        let read = parse(
            r#"{"metadata":{"name":"g","namespace":"shop","resourceVersion":"9","managedFields":[
                {"manager":"replica-count-manager","time":"2026-01-03T00:00:00Z"},
                {"manager":"kubectl-edit","time":"2026-01-02T00:00:00Z"},
                {"manager":"kubectl-create","time":"2026-01-01T00:00:00Z"}]},
               "spec":{"mode":"maybe","suspended":true,"counts":{"deployments/web":{"replicas":-1},"deployments/api":{}}}}"#,
        );
        let guard = read.guard();
        assert_eq!((guard.mode, guard.is_suspended, guard.counts.len()), (None, true, 0));
        assert_eq!((read.author(), read.version()), (Some("kubectl-edit"), Some(9)));
        assert_eq!(read.last_writer(), Some(FIELD_MANAGER), "another server of this kind");
        assert!(ReplicaGuard::from(()).check().is_err());
    }
}
