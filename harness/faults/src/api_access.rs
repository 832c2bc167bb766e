//! How the server of a round reaches its API server: a kubeconfig and a token file that change while it runs.

use std::cell::RefCell;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Result;
use replica_count_testbed::control_plane::{BoundToken, Scope};
use replica_count_testbed::{ControlPlane, FaultProxy};
use serde_json::{Value, json};

/// A host that no name server knows (RFC 2606).
const UNKNOWN_HOST: &str = "api.invalid";

const PLUGIN_VERSION: &str = "client.authentication.k8s.io/v1";
/// The file that makes the plugin hang.
const HANGS: &str = "hangs";
/// Its argument is the folder.
const PLUGIN: &str = r#"#!/bin/sh
[ ! -e "$1/hangs" ] || sleep 1000
printf '{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":{"token":"%s"}}' "$(cat "$1/token")"
"#;

/// The files.
pub(crate) struct ApiAccess<'a> {
    control_plane: &'a ControlPlane,
    folder: PathBuf,
    kubeconfig: Value,
    /// `None` while it is revoked.
    token: RefCell<Option<BoundToken>>,
}

impl<'a> ApiAccess<'a> {
    /// Writes the files of a server that connects through `proxy`.
    pub(crate) async fn new(
        control_plane: &'a ControlPlane,
        proxy: &FaultProxy,
        folder: &Path,
    ) -> Result<Self> {
        let template = proxy.manager_kubeconfig(control_plane, &Scope::Cluster).await?;
        let mut kubeconfig: Value = serde_json::from_str(&fs::read_to_string(template)?)?;
        kubeconfig["users"][0]["user"] = json!({ "tokenFile": folder.join("token") });
        let this = Self { control_plane, folder: folder.to_owned(), kubeconfig, token: RefCell::new(None) };
        this.restore_kubeconfig()?;
        this.renew_token().await?;
        Ok(this)
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }

    /// Makes the API server refuse the token, after some seconds.
    pub(crate) async fn revoke_token(&self) -> Result<()> {
        match self.token.take() {
            Some(token) => token.revoke(self.control_plane).await,
            None => Ok(()),
        }
    }

    /// Writes a new token.
    pub(crate) async fn renew_token(&self) -> Result<()> {
        let token = BoundToken::issue(self.control_plane).await?;
        self.write("token", &token.text)?;
        self.token.replace(Some(token));
        Ok(())
    }

    /// Makes the kubeconfig name a host that cannot be resolved.
    pub(crate) fn name_unknown_host(&self) -> Result<()> {
        let mut kubeconfig = self.kubeconfig.clone();
        kubeconfig["clusters"][0]["cluster"]["server"] = format!("https://{UNKNOWN_HOST}").into();
        self.write("kubeconfig", &kubeconfig.to_string())
    }

    /// Makes the kubeconfig name a plugin instead of the token file. The plugin hangs until
    /// [`end_hanging`](Self::end_hanging); then it gives the token in that file.
    pub(crate) fn name_hanging_plugin(&self) -> Result<()> {
        self.write(HANGS, "")?;
        self.write("plugin.sh", PLUGIN)?;
        let command = self.folder.join("plugin.sh");
        fs::set_permissions(&command, Permissions::from_mode(0o700))?;
        let exec = json!({ "apiVersion": PLUGIN_VERSION, "command": command, "args": [self.folder] });
        let mut kubeconfig = self.kubeconfig.clone();
        kubeconfig["users"][0]["user"] = json!({ "exec": exec });
        self.write("kubeconfig", &kubeconfig.to_string())
    }

    /// Lets the plugin answer.
    pub(crate) fn end_hanging(&self) -> Result<()> {
        Ok(fs::remove_file(self.folder.join(HANGS))?)
    }

    /// Makes the kubeconfig name the proxy and the token file again.
    pub(crate) fn restore_kubeconfig(&self) -> Result<()> {
        self.write("kubeconfig", &self.kubeconfig.to_string())
    }

    /// Replaces a file as a whole.
    fn write(&self, name: &str, text: &str) -> Result<()> {
        let (path, new) = (self.folder.join(name), self.folder.join("new"));
        fs::write(&new, text)?;
        Ok(fs::rename(new, path)?)
    }
}
