//! Writes what the server has as a file that `apply` reads.

use jiff::Timestamp;
use replica_count_api::proto::{EnforcementMode, GetDeploymentResponse, Kind};
use serde::Serialize;
use serde_json::Value;

use crate::failure::Failure;
use crate::output::{object, words, yaml};

/// The format of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum FileFormat {
    /// The settings file: a JSON array, one entry a line.
    Json,
    /// The same entries in YAML.
    Yaml,
    /// ReplicaCounts in YAML.
    Replicacounts,
}

/// The text of a file with all settings that are supported.
pub fn render(rows: &[GetDeploymentResponse], format: FileFormat) -> Result<String, Failure> {
    let managed: Vec<_> =
        rows.iter().filter(|row| row.desired_replicas.is_some() && row.other_kind.is_empty()).collect();
    match format {
        FileFormat::Json => {
            let lines = managed.into_iter().map(|row| serde_json::to_string(&FileEntry::of(row)));
            let lines = lines.collect::<Result<Vec<_>, _>>().expect("entries are JSON");
            Ok(if lines.is_empty() {
                "[]\n".to_owned()
            } else {
                format!("[\n  {}\n]\n", lines.join(",\n  "))
            })
        }
        FileFormat::Yaml => yaml(&managed.into_iter().map(FileEntry::of).collect::<Vec<_>>()),
        FileFormat::Replicacounts => {
            let documents = managed.into_iter().map(|row| {
                let mut object = object(row);
                if let Value::Object(keys) = &mut object {
                    keys.remove("status");
                }
                if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
                    metadata.remove("generation");
                }
                yaml(&object)
            });
            Ok(documents.collect::<Result<Vec<_>, _>>()?.join("---\n"))
        }
    }
}

/// An entry of the settings file.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FileEntry<'a> {
    name: &'a str,
    namespace: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replicas: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temporary_replicas: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temporary_until: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    enforcement: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    enforcement_until: Option<Timestamp>,
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'a str,
}

impl<'a> FileEntry<'a> {
    fn of(row: &'a GetDeploymentResponse) -> Self {
        let until = row.hold_until.and_then(words::time);
        let ignored = row.enforcement() == EnforcementMode::Ignore;
        Self {
            name: &row.name,
            namespace: &row.namespace,
            kind: (row.kind() != Kind::Deployment).then(|| words::kind(row)),
            replicas: if until.is_some() { row.replicas_afterwards } else { row.desired_replicas },
            temporary_replicas: until.and(row.desired_replicas),
            temporary_until: until,
            enforcement: ignored.then_some("ignore"),
            enforcement_until: row.enforcement_until.filter(|_| ignored).and_then(words::time),
            reason: &row.reason,
        }
    }
}
