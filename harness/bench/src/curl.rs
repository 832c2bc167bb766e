//! The physical limit of watching: `curl`, which reads the watch of all Deployments and discards it.

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};

use anyhow::{Context as _, Result, bail};
use replica_count_testbed::control_plane::Scope;
use replica_count_testbed::{ControlPlane, parent_death, workspace};
use replica_count_wire::ACCEPT;
use serde_json::Value;

/// Begins with all existing Deployments, because it starts from version 0.
const PATH: &str =
    "/apis/apps/v1/deployments?watch=true&resourceVersion=0&allowWatchBookmarks=true&timeoutSeconds=86400";

/// The process. It is killed on drop.
#[derive(Debug)]
pub(crate) struct Curl(Child);

impl Curl {
    /// Starts it with the identity, protocol and encoding of the server.
    pub(crate) async fn watch(control_plane: &ControlPlane) -> Result<Self> {
        let kubeconfig: Value =
            serde_json::from_slice(&fs::read(control_plane.manager_kubeconfig(&Scope::Cluster).await?)?)?;
        let text = |pointer| {
            kubeconfig
                .pointer(pointer)
                .and_then(Value::as_str)
                .with_context(|| format!("a kubeconfig has no {pointer}"))
        };
        let headers = control_plane.folder("curl")?.join("headers");
        let token = text("/users/0/user/token")?;
        fs::write(&headers, format!("Authorization: Bearer {token}\nAccept: {ACCEPT}\n"))?;
        let testbed = workspace::built_binary("testbed", "replica-count-testbed")?;
        let mut command = parent_death::command(&testbed, Path::new("curl"));
        command
            .args(["--silent", "--show-error", "--fail", "--http1.1", "--no-buffer", "--output", "/dev/null"])
            .args(["--cacert", text("/clusters/0/cluster/certificate-authority")?])
            .args(["--header", &format!("@{}", headers.display())])
            .arg(format!("{}{PATH}", control_plane.url()))
            .stdin(Stdio::null());
        Ok(Self(parent_death::spawn(command).context("cannot start curl")?))
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Fails if it has ended.
    pub(crate) fn check_alive(&mut self) -> Result<()> {
        match self.0.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("curl ended with {status}"),
        }
    }
}

impl Drop for Curl {
    fn drop(&mut self) {
        // Fails only if it has already ended.
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}
