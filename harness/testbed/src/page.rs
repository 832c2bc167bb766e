//! The page of `kubectl replicas ui`, as a child process.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::time::{self, Instant};

use crate::component::Component;
use crate::manager::{Certificates, SERVER_NAME};
use crate::{parent_death, workspace};

const NAME: &str = "kubectl-replicas";
/// How long it may take until it serves.
const DEADLINE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(10);

/// A local server with the page of one user. It is killed on drop.
#[derive(Debug)]
pub struct Page {
    url: String,
    component: Component,
}

/// What a page is started with.
#[derive(Clone, Copy, Debug)]
pub struct Setup<'a> {
    /// The path of this crate's binary.
    pub testbed: &'a Path,
    /// The server.
    pub server: SocketAddr,
    /// The certificates, among them those of the user.
    pub certificates: &'a Certificates,
    /// The user.
    pub user: &'a str,
    /// The kubeconfig, which says only which namespace is the user's own.
    pub kubeconfig: &'a Path,
}

impl Page {
    /// Starts it, with more flags, and waits until it serves.
    pub async fn start(setup: Setup<'_>, log: PathBuf, arguments: &[&str]) -> Result<Self> {
        let program = workspace::built_binary(NAME, "replica-count-cli")?;
        let files = setup.certificates.files(setup.user);
        let mut command = parent_death::command(setup.testbed, &program);
        command.args(["ui", "--no-browser", "--server-name", SERVER_NAME]);
        command.arg("--server").arg(setup.server.to_string());
        command.arg("--kubeconfig").arg(setup.kubeconfig);
        command
            .arg("--ca")
            .arg(files.authority)
            .arg("--cert")
            .arg(files.certificate)
            .arg("--key")
            .arg(files.key);
        command.args(arguments);
        let mut component = Component::start(NAME, command, log)?;
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(url) = component.log().into_iter().find(|line| line.starts_with("http://")) {
                return Ok(Self { url, component });
            }
            component.check_alive()?;
            if Instant::now() >= deadline {
                bail!("{NAME} did not serve within {DEADLINE:?}:\n{}", component.tail());
            }
            time::sleep(POLL).await;
        }
    }

    /// The address of the page, with the token.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The name and port of the local server.
    pub fn host(&self) -> Result<&str> {
        let rest = self.url.strip_prefix("http://").and_then(|rest| rest.split('/').next());
        rest.with_context(|| format!("{} is no address", self.url))
    }

    /// The token.
    pub fn token(&self) -> Result<&str> {
        let token = self.url.split_once("?token=").map(|(_, token)| token);
        token.with_context(|| format!("{} has no token", self.url))
    }

    /// Fails with the end of its log if it has ended.
    pub fn check_alive(&mut self) -> Result<()> {
        self.component.check_alive()
    }
}
