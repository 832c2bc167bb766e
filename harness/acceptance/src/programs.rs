//! Runs the programs of a user in an isolated environment.

use std::ffi::{OsStr, OsString};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;
use std::{env, fs, iter};

use anyhow::{Context as _, Result, bail, ensure};
use replica_count_testbed::cluster::{Program, Programs as Cluster};
use replica_count_testbed::workspace;
use tokio::process::Command;
use tokio::{task, time};

use crate::helm::Version;

/// Longer than any of these programs waits for pods.
const DEADLINE: Duration = Duration::from_mins(5);

/// kubectl with the plugin `replicas`, grpcurl and one version of Helm on PATH, and a kubeconfig for them.
#[derive(Debug)]
pub(crate) struct Programs {
    variables: Vec<(&'static str, OsString)>,
}

impl Programs {
    /// Finds or builds the programs. `folder` is their scratch space.
    pub(crate) async fn find(helm: Version, kubeconfig: &Path, folder: &Path) -> Result<Self> {
        let bin = folder.join("bin");
        fs::create_dir(&bin)?;
        let inherited = env::var_os("PATH").unwrap_or_default();
        let path = iter::once(bin.clone()).chain(env::split_paths(&inherited));
        let variables = vec![
            ("PATH", env::join_paths(path)?),
            ("KUBECONFIG", kubeconfig.canonicalize().context("no such kubeconfig")?.into()),
            // Isolates Helm from the user's own configuration.
            ("HELM_CACHE_HOME", folder.join("helm/cache").into()),
            ("HELM_CONFIG_HOME", folder.join("helm/config").into()),
            ("HELM_DATA_HOME", folder.join("helm/data").into()),
            // The same for kubectl replicas.
            ("XDG_CONFIG_HOME", folder.join("config").into()),
        ];
        let this = Self { variables };
        for program in [Program::Kubectl, Program::Grpcurl] {
            let path = task::spawn_blocking(move || Cluster::from_env()?.ensure(program)).await??;
            symlink(path, bin.join(program.name()))?;
        }
        let plugin = workspace::built_binary("kubectl-replicas", "replica-count-cli")?;
        symlink(plugin, bin.join("kubectl-replicas"))?;
        let root = workspace::root()?;
        let helm = this.run_in(&root, ["scripts/tool.sh", helm.tool()]).await?;
        symlink(helm.trim(), bin.join("helm"))?;
        Ok(this)
    }

    /// A command that runs a program in a folder. The process is killed when dropped.
    pub(crate) fn command<S: AsRef<OsStr>>(
        &self,
        folder: &Path,
        words: impl IntoIterator<Item = S>,
    ) -> Command {
        let mut words = words.into_iter();
        // Through env, because the child's own PATH is not used to find the child.
        let mut command = Command::new("/usr/bin/env");
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        if let Some(program) = words.next() {
            command.arg(program);
        }
        command.args(words).current_dir(folder).stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// Runs a program, and returns its stdout. Fails if the program fails.
    pub(crate) async fn run<S: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = S>) -> Result<String> {
        self.run_in(&workspace::root()?, words).await
    }

    /// The same, in a folder.
    pub(crate) async fn run_in<S: AsRef<OsStr>>(
        &self,
        folder: &Path,
        words: impl IntoIterator<Item = S>,
    ) -> Result<String> {
        output(self.command(folder, words)).await
    }

    /// Runs a program that must fail, and returns its output.
    pub(crate) async fn run_expecting_failure<S: AsRef<OsStr>>(
        &self,
        words: impl IntoIterator<Item = S>,
    ) -> Result<String> {
        output_of_failure(self.command(&workspace::root()?, words)).await
    }
}

/// Runs a command that must fail, and returns its output.
pub(crate) async fn output_of_failure(command: Command) -> Result<String> {
    let line = line(&command);
    let output = finish(command).await?;
    let text = text(&output);
    ensure!(!output.status.success(), "`{line}` should fail, but did not: {text}");
    Ok(text)
}

/// Runs a command, and returns its stdout. Fails if the command fails.
pub(crate) async fn output(command: Command) -> Result<String> {
    let line = line(&command);
    let output = finish(command).await?;
    ensure!(output.status.success(), "`{line}` failed ({}): {}", output.status, text(&output));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

async fn finish(mut command: Command) -> Result<Output> {
    let line = line(&command);
    match time::timeout(DEADLINE, command.output()).await {
        Ok(output) => output.with_context(|| format!("cannot run `{line}`")),
        Err(_) => bail!("`{line}` did not end within {} s", DEADLINE.as_secs()),
    }
}

fn text(output: &Output) -> String {
    [&output.stderr, &output.stdout].map(|text| String::from_utf8_lossy(text).trim().to_owned()).join("\n")
}

fn line(command: &Command) -> String {
    let words = command.as_std().get_args().map(OsStr::to_string_lossy);
    words.collect::<Vec<_>>().join(" ")
}
