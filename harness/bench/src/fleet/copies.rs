//! Copies of a Deployment, written directly to etcd as the API server would store them.
//!
//! Creating 100,000 Deployments through the API server takes minutes. So only one is created that way, and the others
//! are copies of its stored value with another name and uid. Both keep their length, so no other bytes have to change.

use anyhow::{Result, ensure};

use crate::etcd::Etcd;

/// The number of digits of a uid after its last hyphen.
const UID_END: usize = 12;

/// The stored value of a Deployment.
pub(super) struct Original {
    etcd: Etcd,
    namespace: &'static str,
    name: String,
    uid: String,
    value: Vec<u8>,
}

impl Original {
    /// Reads the stored value.
    pub(super) async fn read(etcd: Etcd, namespace: &'static str, name: String, uid: String) -> Result<Self> {
        let value = etcd.read(&key(namespace, &name)).await?;
        Ok(Self { etcd, namespace, name, uid, value })
    }

    /// Writes a copy with another name, and with a uid derived from `number`.
    pub(super) async fn copy(&self, name: &str, number: usize) -> Result<()> {
        ensure!(name.len() == self.name.len(), "{name} is not as long as {}", self.name);
        let uid = format!("{}{number:0UID_END$x}", &self.uid[..self.uid.len() - UID_END]);
        let value = replace(&self.value, self.name.as_bytes(), name.as_bytes());
        let value = replace(&value, self.uid.as_bytes(), uid.as_bytes());
        self.etcd.write(&key(self.namespace, name), value).await
    }
}

fn key(namespace: &str, name: &str) -> String {
    format!("/registry/deployments/{namespace}/{name}")
}

/// Replaces each `from` by `to`.
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
