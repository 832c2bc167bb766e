//! Credential plugins: programs that a kubeconfig names (`exec`) and that print credentials, by the contract of
//! `client.authentication.k8s.io`, versions v1 and v1beta1.

mod answer;
mod process;

use std::fmt;
use std::io;
use std::time::Duration;

use kube::config::{Cluster, ExecConfig, ExecInteractiveMode};
use serde_json::json;
use tokio::process::Command;

pub(super) use self::answer::Obtained;
use self::process::{Failure, LONGEST_OUTPUT};

/// How long a plugin may take. It may have to ask a cloud, and that may be slow.
const DEADLINE: Duration = Duration::from_secs(30);
/// The variable that tells a plugin what is wanted.
const REQUEST_VARIABLE: &str = "KUBERNETES_EXEC_INFO";
/// The extension of a cluster in a kubeconfig that is meant for plugins.
const CLUSTER_EXTENSION: &str = "client.authentication.k8s.io/exec";
/// The longest part of what a plugin says or of an installation hint that is shown, in characters.
const LONGEST_SHOWN: usize = 300;

/// A plugin, and what is asked of it.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Plugin {
    command: String,
    arguments: Vec<String>,
    variables: Vec<(String, String)>,
    api_version: String,
    /// The request in JSON.
    request: String,
    install_hint: Option<String>,
}

/// Why a plugin gives no credentials.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PluginError {
    /// There is no such program.
    #[error("the credential plugin {command:?} was not found{hint}")]
    NotFound {
        /// The program.
        command: String,
        /// What the kubeconfig says about installing it.
        hint: Hint,
    },
    /// It cannot be run.
    #[error("the credential plugin {command:?} cannot be run: {reason}")]
    NotRun {
        /// The program.
        command: String,
        /// Why not.
        #[source]
        reason: io::Error,
    },
    /// It failed.
    #[error("the credential plugin {command:?} failed: {reason}")]
    Failed {
        /// The program.
        command: String,
        /// How it ended, and the last line that it wrote to standard error.
        reason: String,
    },
    /// It took too long, and was killed.
    #[error("the credential plugin {command:?} did not end within {DEADLINE:?}, and was killed{said}")]
    TimedOut {
        /// The program.
        command: String,
        /// The last line that it wrote to standard error.
        said: String,
    },
    /// It printed no credentials.
    #[error("the credential plugin {command:?} printed no usable credentials: {reason}")]
    Unusable {
        /// The program.
        command: String,
        /// What is wrong with them.
        reason: String,
    },
}

/// What a kubeconfig says about installing a plugin.
#[derive(Debug)]
pub(crate) struct Hint(Option<String>);

impl fmt::Display for Hint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_ref().map_or(Ok(()), |hint| write!(formatter, "; {hint}"))
    }
}

impl Plugin {
    /// Checks what the kubeconfig says. `cluster` has its certificates inline.
    pub(super) fn new(exec: ExecConfig, cluster: &Cluster) -> Result<Self, String> {
        let command = exec.command.filter(|command| !command.is_empty());
        let command = command.ok_or("exec: the command of the credential plugin is missing")?;
        let api_version = exec.api_version.unwrap_or_default();
        if !answer::VERSIONS.contains(&api_version.as_str()) {
            let known = answer::VERSIONS.join(" or ");
            return Err(format!("exec: the apiVersion {api_version:?} is not known; use {known}"));
        }
        match exec.interactive_mode {
            None | Some(ExecInteractiveMode::Never | ExecInteractiveMode::IfAvailable) => {}
            Some(ExecInteractiveMode::Always) => {
                return Err(format!(
                    "exec: the credential plugin {command:?} wants a terminal (interactiveMode: Always), and a server \
                     has none; use one that needs none"
                ));
            }
        }
        let mut variables = Vec::new();
        for variable in exec.env.unwrap_or_default() {
            let value = |key: &str| variable.get(key).cloned().unwrap_or_default();
            let name = value("name");
            if name.is_empty() || name.contains(['=', '\0']) {
                return Err(format!("exec: {name:?} is not the name of an environment variable"));
            }
            variables.push((name, value("value")));
        }
        let mut spec = json!({ "interactive": false });
        if exec.provide_cluster_info {
            spec["cluster"] = describe(cluster);
        }
        let request = json!({ "apiVersion": api_version, "kind": answer::KIND, "spec": spec }).to_string();
        Ok(Self {
            command,
            arguments: exec.args.unwrap_or_default(),
            variables,
            api_version,
            request,
            install_hint: exec.install_hint.filter(|hint| !hint.trim().is_empty()),
        })
    }

    /// The program.
    pub(super) fn command(&self) -> &str {
        &self.command
    }

    /// Runs it. If this is dropped, the plugin is killed with everything that it has started.
    pub(super) async fn run(&self) -> Result<Obtained, PluginError> {
        self.run_within(DEADLINE).await
    }

    async fn run_within(&self, deadline: Duration) -> Result<Obtained, PluginError> {
        let mut command = Command::new(&self.command);
        command.args(&self.arguments).envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.env(REQUEST_VARIABLE, &self.request);
        let output = process::run(command, deadline).await.map_err(|failure| self.error(failure))?;
        answer::parse(&output, &self.api_version)
            .map_err(|reason| PluginError::Unusable { command: self.command.clone(), reason })
    }

    fn error(&self, failure: Failure) -> PluginError {
        let command = self.command.clone();
        match failure {
            Failure::NotStarted(error) if error.kind() == io::ErrorKind::NotFound => {
                let hint = self.install_hint.as_ref().map(|hint| shown(&hint.replace(['\n', '\r'], " ")));
                PluginError::NotFound { command, hint: Hint(hint) }
            }
            Failure::NotStarted(reason) => PluginError::NotRun { command, reason },
            Failure::Ended { how, said } if said.is_empty() => {
                PluginError::Failed { command, reason: how.to_string() }
            }
            Failure::Ended { how, said } => {
                PluginError::Failed { command, reason: format!("{how}: {}", shown(&said)) }
            }
            Failure::TooLong => {
                let reason = format!("more than {LONGEST_OUTPUT} bytes");
                PluginError::Unusable { command, reason }
            }
            Failure::TimedOut { said } => {
                let said = if said.is_empty() { said } else { format!("; it said: {}", shown(&said)) };
                PluginError::TimedOut { command, said }
            }
        }
    }
}

/// What a plugin is told about the cluster.
fn describe(cluster: &Cluster) -> serde_json::Value {
    let mut described = json!({ "server": cluster.server });
    let mut add = |key: &str, value: serde_json::Value| {
        if !value.is_null() {
            described[key] = value;
        }
    };
    add("tls-server-name", json!(cluster.tls_server_name));
    add("insecure-skip-tls-verify", json!(cluster.insecure_skip_tls_verify));
    add("certificate-authority-data", json!(cluster.certificate_authority_data));
    add("proxy-url", json!(cluster.proxy_url));
    add("disable-compression", json!(cluster.disable_compression));
    let extension = cluster.extensions.iter().flatten().find(|extension| extension.name == CLUSTER_EXTENSION);
    add("config", json!(extension.map(|extension| &extension.extension)));
    described
}

/// Text of others, for a log line: cut, without control characters.
fn shown(text: &str) -> String {
    let mut shown: String =
        text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST_SHOWN).collect();
    if text.trim().chars().count() > LONGEST_SHOWN {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests;
