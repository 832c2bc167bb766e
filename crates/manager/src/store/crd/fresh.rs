//! Reads single objects, where the watch may be behind.

use kube::Client;

use super::kept::Kept;
use crate::kubernetes::replica_count::{ObjectKey, RequestError, get};

/// Reads what is stored under a name.
pub(super) async fn read(kept: &Kept, client: &Client, key: &ObjectKey) -> Result<(), RequestError> {
    let version = kept.version(key);
    match get(client, key).await? {
        Some(object) => kept.observe(&object),
        None => {
            if let Some(version) = version {
                kept.record_absent(key, &version);
            }
        }
    }
    Ok(())
}
