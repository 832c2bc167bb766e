//! Certificates, made by `kubectl-replicas certs`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use replica_count_client::CredentialFiles;

use crate::workspace;

/// A folder of certificates: `ca/ca.crt`, `server/server.crt`, `client/client.crt`, the keys, and those of more people.
#[derive(Clone, Debug)]
pub struct Certificates {
    kubectl_replicas: PathBuf,
    folder: PathBuf,
}

impl Certificates {
    /// Makes the certificates in `folder` unless they are there.
    pub fn ensure(folder: PathBuf) -> Result<Self> {
        let this = Self {
            kubectl_replicas: workspace::built_binary("kubectl-replicas", "replica-count-cli")?,
            folder,
        };
        if !this.authority().exists() {
            this.run(&["certs"])?;
        }
        Ok(this)
    }

    /// Makes the certificate of one more person.
    pub fn issue(&self, name: &str, groups: &[&str]) -> Result<()> {
        let groups = groups.iter().flat_map(|group| ["--group", group]);
        let arguments: Vec<&str> = ["certs", "client", "--name", name].into_iter().chain(groups).collect();
        self.run(&arguments)
    }

    /// The folder of all of them.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The certificate of the authority.
    pub fn authority(&self) -> PathBuf {
        self.folder.join("ca/ca.crt")
    }

    /// The certificate of `name`; those of the start are `server` and `client`.
    pub fn certificate(&self, name: &str) -> PathBuf {
        self.folder.join(name).join(format!("{name}.crt"))
    }

    /// The key of `name`.
    pub fn key(&self, name: &str) -> PathBuf {
        self.folder.join(name).join(format!("{name}.key"))
    }

    /// The files of the client `name`.
    pub fn files(&self, name: &str) -> CredentialFiles {
        CredentialFiles {
            authority: self.authority(),
            certificate: self.certificate(name),
            key: self.key(name),
        }
    }

    fn run(&self, arguments: &[&str]) -> Result<()> {
        let mut command = Command::new(&self.kubectl_replicas);
        let output = command.args(arguments).arg("--dir").arg(&self.folder).output();
        let output = output.with_context(|| format!("cannot run {}", self.kubectl_replicas.display()))?;
        if !output.status.success() {
            bail!(
                "{command:?} failed ({}): {}",
                output.status,
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(())
    }
}
