//! Writes what the server has as a file that `apply` reads.

use jiff::Timestamp;
use replica_count_api::proto::{GetDeploymentResponse, Kind};
use serde::Serialize;
use serde_json::Value;

use super::entry::Enforcement;
use super::setting::Setting;
use crate::failure::Failure;
use crate::output::{object, words, yaml};
use crate::target::{Target, kind_name};

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
    let managed = rows.iter().filter(|row| row.desired_replicas.is_some() && row.other_kind.is_empty());
    let settings: Vec<_> = managed.map(|row| (row, Setting::of_answer(row))).collect();
    match format {
        FileFormat::Json => {
            let lines = settings.iter().map(|(row, setting)| serde_json::to_string(&entry(row, setting)));
            let lines = lines.collect::<Result<Vec<_>, _>>().expect("entries are JSON");
            Ok(if lines.is_empty() {
                "[]\n".to_owned()
            } else {
                format!("[\n  {}\n]\n", lines.join(",\n  "))
            })
        }
        FileFormat::Yaml => {
            yaml(&settings.iter().map(|(row, setting)| entry(row, setting)).collect::<Vec<_>>())
        }
        FileFormat::Replicacounts => {
            let documents = settings.iter().map(|(row, _)| {
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

fn entry<'a>(row: &'a GetDeploymentResponse, setting: &'a Setting) -> FileEntry<'a> {
    FileEntry::new(&row.namespace, words::kind(row), &row.name, setting)
}

/// One entry of such a file, in YAML.
pub fn entry_of(namespace: &str, target: &Target, setting: &Setting) -> Result<String, Failure> {
    yaml(&FileEntry::new(namespace, kind_name(target.kind), &target.name, setting))
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
    fn new(namespace: &'a str, kind: &'a str, name: &'a str, setting: &'a Setting) -> Self {
        let (ignored, enforcement_until) = match setting.enforcement {
            Enforcement::Enforce => (false, None),
            Enforcement::Ignore(until) => (true, until),
        };
        Self {
            name,
            namespace,
            kind: (kind != kind_name(Kind::Deployment)).then_some(kind),
            replicas: setting.lasting,
            temporary_replicas: setting.temporary.map(|(count, _)| count),
            temporary_until: setting.temporary.map(|(_, until)| until),
            enforcement: ignored.then_some("ignore"),
            enforcement_until,
            reason: &setting.reason,
        }
    }
}
