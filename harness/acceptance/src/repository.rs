//! A chart repository with our chart in it, so that the user's line can be run as it is.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result};
use replica_count_testbed::workspace;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Child;

use crate::programs::Programs;

/// A small server of files on loopback, which ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Repository {
    url: String,
    _server: Child,
}

impl Repository {
    /// Packages the chart of this checkout and serves it from `folder`.
    pub(crate) async fn start(programs: &Programs, folder: &Path) -> Result<Self> {
        let root = workspace::root()?;
        let (chart, server) = (root.join("charts/replica-count-manager"), folder.join("chart-server"));
        let packages = folder.join("packages");
        let [packages_text, server_text] = [&packages, &server].map(|path| path.display().to_string());
        let build = ["env", "GOWORK=off", "go", "build", "-o", &server_text, "."];
        programs.run_in(&root.join("tools/chart"), build).await?;
        let chart = chart.display().to_string();
        programs.run(["helm", "package", "--destination", &packages_text, &chart]).await?;

        let mut command = programs.command(folder, [&server_text, "serve", &packages_text]);
        let mut server = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let stdout = server.stdout.take().context("the chart server has no output")?;
        let url = BufReader::new(stdout).lines().next_line().await?.context("the chart server has no URL")?;
        programs.run(["helm", "repo", "index", "--url", &url, &packages_text]).await?;
        Ok(Self { url, _server: server })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}
