//! Accesses etcd directly, bypassing the API server. Its gateway uses JSON with base64 for bytes.

use anyhow::{Context as _, Result};
use http::{Request, header};
use k8s_openapi::ByteString;
use kube::{Client, Config};
use replica_count_testbed::ControlPlane;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A client of etcd.
pub(crate) struct Etcd(Client);

impl Etcd {
    /// Connects to the etcd of a control plane.
    pub(crate) fn new(control_plane: &ControlPlane) -> Result<Self> {
        Ok(Self(Client::try_from(Config::new(control_plane.etcd_url().parse()?))?))
    }

    /// Reads the value of a key.
    pub(crate) async fn read(&self, key: &str) -> Result<Vec<u8>> {
        #[derive(Deserialize)]
        struct Found {
            #[serde(default)]
            kvs: Vec<Pair>,
        }
        #[derive(Deserialize)]
        struct Pair {
            value: ByteString,
        }
        let found: Found = self.0.request(post("/v3/kv/range", &json!({ "key": bytes(key) }))?).await?;
        let pair = found.kvs.into_iter().next().with_context(|| format!("etcd has no {key}"))?;
        Ok(pair.value.0)
    }

    /// Writes the value of a key.
    pub(crate) async fn write(&self, key: &str, value: Vec<u8>) -> Result<()> {
        let pair = json!({ "key": bytes(key), "value": ByteString(value) });
        self.0.request::<Value>(post("/v3/kv/put", &pair)?).await.context("etcd refused a write")?;
        Ok(())
    }
}

fn bytes(text: &str) -> ByteString {
    ByteString(text.as_bytes().to_vec())
}

fn post(path: &str, body: &impl Serialize) -> Result<Request<Vec<u8>>> {
    let request = Request::post(path).header(header::CONTENT_TYPE, "application/json");
    Ok(request.body(serde_json::to_vec(body)?)?)
}
