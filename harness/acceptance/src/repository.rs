//! Serves our chart from a chart repository, so the documented commands run unchanged.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result};
use replica_count_testbed::workspace;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Child;

use crate::programs::Programs;

/// A small file server on loopback. It ends on drop.
#[derive(Debug)]
pub(crate) struct Repository {
    url: String,
    _server: Child,
}

impl Repository {
    /// Packages the chart of this checkout into `folder` and serves it.
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
