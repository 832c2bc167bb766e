//! The server's writes, according to the audit log of the API server.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use replica_count_testbed::{ControlPlane, Options};
use serde::Deserialize;
use tempfile::TempDir;

use crate::fixture::{own_with, testbed};

/// The ServiceAccount of a cluster-wide server.
const SERVER: &str = "system:serviceaccount:replica-count-manager:replica-count-manager";

/// A control plane that logs every request.
pub(crate) struct Audited {
    pub(crate) control_plane: ControlPlane,
    log: PathBuf,
    _folder: TempDir,
}

impl Audited {
    /// Starts one, with further options from `change`.
    pub(crate) async fn start(change: impl FnOnce(Options) -> Options) -> Self {
        let folder = TempDir::new().unwrap();
        let log = folder.path().join("audit.log");
        let options = change(Options::new(testbed())).with_audit_log(log.clone());
        Self { control_plane: own_with(options).await, log, _folder: folder }
    }

    /// The server's writes to a namespace, in order of arrival.
    pub(crate) fn writes(&self, namespace: &str) -> Vec<Write> {
        let mut writes = read(&self.log);
        writes.retain(|write| write.object.namespace == namespace);
        writes.sort_by_key(|write| write.began);
        writes
    }
}

/// A PATCH or PUT of `deployments/scale` by the server.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Write {
    #[serde(rename = "requestReceivedTimestamp")]
    pub(crate) began: Timestamp,
    #[serde(rename = "stageTimestamp")]
    pub(crate) ended: Timestamp,
    #[serde(rename = "responseStatus")]
    pub(crate) status: Status,
    #[serde(rename = "objectRef")]
    pub(crate) object: Object,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Status {
    pub(crate) code: u16,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Object {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl Write {
    /// Whether it arrived less than `time` after `first`.
    pub(crate) fn is_within(&self, time: Duration, first: &Self) -> bool {
        self.began.duration_since(first.began).unsigned_abs() < time
    }
}

fn read(log: &Path) -> Vec<Write> {
    let text = fs::read_to_string(log).unwrap();
    let entries = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let writes = entries.filter(|entry| {
        entry["stage"] == "ResponseComplete"
            && (entry["verb"] == "patch" || entry["verb"] == "update")
            && entry["objectRef"]["subresource"] == "scale"
            && entry["objectRef"]["resource"] == "deployments"
            && entry["user"]["username"] == SERVER
    });
    writes.map(|write| serde_json::from_value(write).unwrap()).collect()
}
