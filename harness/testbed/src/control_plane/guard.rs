//! The guard: the policies of the chart, from the chart's own files.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind};
use serde_json::Value;
use tokio::time::{self, Instant};

use super::objects::ensure;
use crate::workspace;

/// The chart's files, in the order in which they must be created: a policy whose parameter has no definition yet takes
/// half a minute to work.
const FILES: [&str; 4] = ["crd", "warn", "deny", "correct"];
const FOLDER: &str = "charts/replica-count-manager/files/guard";

/// What stands for the guard's name in the files.
const NAME: &str = "GUARD_NAME";

const ESTABLISHED_DEADLINE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);

/// Installs the guard, unless it is there. Returns whether this API server has policies that correct.
pub(super) async fn install(client: &Client, name: &str) -> Result<bool> {
    for file in FILES {
        for object in read(file, name)? {
            match create(client, object).await {
                Err(error) if file == "correct" && is_unknown_kind(&error) => return Ok(false),
                created => created.with_context(|| format!("{file} of the guard"))?,
            }
        }
        if file == "crd" {
            wait_until_established(client).await?;
        }
    }
    Ok(true)
}

fn read(file: &str, name: &str) -> Result<Vec<Value>> {
    let path = workspace::root()?.join(FOLDER).join(file).with_extension("yaml");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let documents = text.replace(NAME, name);
    let parsed: Result<_, _> = documents.split("\n---\n").map(serde_saphyr::from_str).collect();
    parsed.with_context(|| format!("{} is not valid YAML", path.display()))
}

/// Creates an object of any kind without a namespace, unless it is there.
pub(super) async fn create(client: &Client, object: Value) -> Result<()> {
    let word = |key: &str| object[key].as_str().context("an object has no kind");
    let (group, version) =
        word("apiVersion")?.split_once('/').context("no such kind is in the core group")?;
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, word("kind")?));
    ensure::<DynamicObject>(&Api::all_with(client.clone(), &kind), object).await
}

pub(super) fn is_unknown_kind(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(kube::Error::Api(status)) if status.code == 404)
}

/// Waits until the API server serves ReplicaGuards.
async fn wait_until_established(client: &Client) -> Result<()> {
    let kind = GroupVersionKind::gvk("replicacount.dev", "v1alpha1", "ReplicaGuard");
    let guards: Api<DynamicObject> = Api::all_with(client.clone(), &ApiResource::from_gvk(&kind));
    let deadline = Instant::now() + ESTABLISHED_DEADLINE;
    while let Err(error) = guards.list(&kube::api::ListParams::default()).await {
        if Instant::now() >= deadline {
            bail!("ReplicaGuards were not served within {ESTABLISHED_DEADLINE:?}: {error}");
        }
        time::sleep(POLL).await;
    }
    Ok(())
}
