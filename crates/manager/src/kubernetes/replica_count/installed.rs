//! Whether the API server knows ReplicaCounts, and all of their fields that this version needs.

use http::Request;
use kube::Client;
use serde::Deserialize;
use serde_json::Value;

use super::definition::INSTALL_COMMAND;
use super::refusal::RequestError;
use super::write::send;

const GROUP: &str = "/apis/replicacount.dev";
const VERSION: &str = "v1alpha1";
const RESOURCE: &str = "replicacounts";
const OPENAPI: &str = "/openapi/v3/apis/replicacount.dev/v1alpha1";
const SCHEMA: &str = "dev.replicacount.v1alpha1.ReplicaCount";
/// The fields that this version reads or writes.
const FIELDS: [&str; 6] = ["target", "replicas", "temporary", "enforcement", "enforcementUntil", "reason"];

/// What the API server lacks. Each message is one line that says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// The definition.
    #[error(
        "the API server does not know ReplicaCounts (replicacounts.replicacount.dev); install them: {INSTALL_COMMAND}"
    )]
    Definition,
    /// The version.
    #[error(
        "the API server has ReplicaCounts of version {served}, and this server needs {VERSION}; install it: \
         {INSTALL_COMMAND}"
    )]
    Version {
        /// The versions that it has.
        served: String,
    },
    /// A field: the definition is older than this server.
    #[error(
        "the ReplicaCounts of the API server have no spec.{field}: their definition is older than this server; \
         upgrade it: {INSTALL_COMMAND}"
    )]
    Field {
        /// The first field that is missing.
        field: &'static str,
    },
}

#[derive(Deserialize)]
struct Group {
    versions: Vec<GroupVersion>,
}

#[derive(Deserialize)]
struct GroupVersion {
    version: String,
}

#[derive(Deserialize)]
struct Resources {
    resources: Vec<Resource>,
}

#[derive(Deserialize)]
struct Resource {
    name: String,
}

/// Asks the API server. `None`: nothing is missing.
pub async fn check_installed(client: &Client) -> Result<Option<Missing>, RequestError> {
    let Some(group) = read::<Group>(client, GROUP).await? else {
        return Ok(Some(Missing::Definition));
    };
    let resources = read::<Resources>(client, &format!("{GROUP}/{VERSION}")).await?;
    let resources = resources.map(|resources| resources.resources).unwrap_or_default();
    if resources.iter().any(|resource| resource.name == RESOURCE) {
        // Without a schema, nothing can be said: it is published some time after the resource.
        let document = read::<Value>(client, OPENAPI).await.unwrap_or_default().unwrap_or_default();
        return Ok(missing_field(&document).map(|field| Missing::Field { field }));
    }
    let mut served = Vec::new();
    for GroupVersion { version } in group.versions {
        let resources = read::<Resources>(client, &format!("{GROUP}/{version}")).await?;
        if resources.is_some_and(|found| found.resources.iter().any(|resource| resource.name == RESOURCE)) {
            served.push(version);
        }
    }
    if served.is_empty() {
        return Ok(Some(Missing::Definition));
    }
    Ok(Some(Missing::Version { served: served.join(", ") }))
}

async fn read<T: serde::de::DeserializeOwned>(
    client: &Client,
    path: &str,
) -> Result<Option<T>, RequestError> {
    match send(client, Request::get(path).body(Vec::new())).await {
        Ok(answer) => Ok(Some(answer)),
        Err(RequestError::NotFound | RequestError::NotInstalled) => Ok(None),
        Err(error) => Err(error),
    }
}

fn missing_field(document: &Value) -> Option<&'static str> {
    let fields = document["components"]["schemas"][SCHEMA]["properties"]["spec"]["properties"].as_object()?;
    FIELDS.into_iter().find(|field| !fields.contains_key(*field))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::definition::definition;
    use super::*;

    fn document(fields: &Value) -> Value {
        let schema = json!({ "properties": { "spec": { "properties": fields } } });
        json!({ "components": { "schemas": { SCHEMA: schema } } })
    }

    #[test]
    fn an_older_definition_is_noticed() {
        let definition: Value = serde_saphyr::from_str(&definition()).expect("YAML");
        let spec = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
        let mut fields = spec["properties"].clone();
        assert_eq!(fields.as_object().map(serde_json::Map::len), Some(FIELDS.len()), "{fields}");
        assert_eq!(missing_field(&document(&fields)), None);
        fields.as_object_mut().expect("an object").remove("temporary");
        assert_eq!(missing_field(&document(&fields)), Some("temporary"));
        assert_eq!(missing_field(&json!({})), None, "without a schema");
    }
}
