//! Copies of an object, written to etcd as the API server would store them.
//!
//! By way of the API server 100,000 Deployments take minutes, half of which go into defaults and field managers that are
//! the same for all. So one is created that way, and the rest are what is stored of it with another name and uid. Both
//! keep their length, so nothing else in the stored bytes has to change.

use anyhow::{Context as _, Result, ensure};
use http::{Request, header};
use k8s_openapi::ByteString;
use kube::{Client, Config};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// The digits of a uid after its last hyphen.
const UID_END: usize = 12;

/// What is stored of an object.
pub(super) struct Original {
    etcd: Client,
    key: String,
    name: String,
    uid: String,
    value: Vec<u8>,
}

/// A pair of etcd; its gateway speaks JSON, in which bytes are in base 64.
#[derive(Debug, Serialize, Deserialize)]
struct Pair {
    key: ByteString,
    value: ByteString,
}

impl Original {
    /// Reads a Deployment from the etcd at `url`.
    pub(super) async fn read(url: &str, namespace: &str, name: &str, uid: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct Found {
            #[serde(default)]
            kvs: Vec<Pair>,
        }
        let etcd = Client::try_from(Config::new(url.parse()?))?;
        let key = format!("/registry/deployments/{namespace}/{name}");
        let range = json!({ "key": ByteString(key.clone().into_bytes()) });
        let found: Found = etcd.request(post("/v3/kv/range", &range)?).await?;
        let pair = found.kvs.into_iter().next().with_context(|| format!("etcd has no {key}"))?;
        let (name, uid) = (name.to_owned(), uid.to_owned());
        Ok(Self { etcd, key, name, uid, value: pair.value.0 })
    }

    /// Writes a copy with another name of the same length. Each `number` has a uid of its own.
    pub(super) async fn copy(&self, name: &str, number: usize) -> Result<()> {
        ensure!(name.len() == self.name.len(), "{name} is not as long as {}", self.name);
        let uid = format!("{}{number:0UID_END$x}", &self.uid[..self.uid.len() - UID_END]);
        let key = self.key.replace(&self.name, name);
        let value = replace(&self.value, self.name.as_bytes(), name.as_bytes());
        let value = replace(&value, self.uid.as_bytes(), uid.as_bytes());
        let pair = Pair { key: ByteString(key.into_bytes()), value: ByteString(value) };
        self.etcd.request_text(post("/v3/kv/put", &pair)?).await.context("etcd did not take a copy")?;
        Ok(())
    }
}

fn post(path: &str, body: &impl Serialize) -> Result<Request<Vec<u8>>> {
    let request = Request::post(path).header(header::CONTENT_TYPE, "application/json");
    Ok(request.body(serde_json::to_vec(body)?)?)
}

/// Replaces each `from` by a `to` of the same length.
fn replace(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let (mut replaced, mut rest) = (Vec::with_capacity(bytes.len()), bytes);
    while let Some((&first, behind)) = rest.split_first() {
        match rest.strip_prefix(from) {
            Some(behind) => {
                replaced.extend_from_slice(to);
                rest = behind;
            }
            None => {
                replaced.push(first);
                rest = behind;
            }
        }
    }
    replaced
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_occurrence_is_replaced_and_nothing_else() {
        let cases: [(&[u8], &[u8]); 5] = [
            (b"a-1 \xff a-1", b"b-2 \xff b-2"),
            (b"a-a-1", b"a-b-2"),
            (b"a-1a-1", b"b-2b-2"),
            (b"a-", b"a-"),
            (b"", b""),
        ];
        for (bytes, expected) in cases {
            assert_eq!(replace(bytes, b"a-1", b"b-2"), expected, "{bytes:?}");
        }
    }
}
