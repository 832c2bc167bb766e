//! `diff`: where the cluster is not as desired, or the server not as files say.

use std::process::Command;
use std::{env, fs, io};

use clap::Args;
use jiff::Timestamp;
use replica_count_api::proto::{DeploymentState, GetDeploymentResponse};

use super::apply::{self, FilesArgs};
use crate::calls::Calls;
use crate::connect::ConnectArgs;
use crate::failure::Failure;
use crate::manifest::Change;
use crate::output::{print, words, workloads};

/// The exit status if there are differences.
const DIFFERENT: u8 = 1;
/// The exit status if it is not known whether there are.
const FAILED: u8 = 2;

/// A program that shows differences of two folders instead.
const EXTERNAL: &str = "KUBECTL_EXTERNAL_DIFF";

const EXAMPLES: &str = "\
Examples:
  # All that is drifted, in conflict, missing or not enforced
  kubectl replicas diff -A

  # What apply would change
  kubectl replicas diff -f counts.yaml

Exit status: 0 if there is no difference, 1 if there is one, 2 if it fails. KUBECTL_EXTERNAL_DIFF names \
a program that shows differences instead, as for kubectl diff.";

/// Show what is not as desired, or not as files say
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DiffArgs {
    #[command(flatten)]
    files: FilesArgs,
    /// Print no headers
    #[arg(long)]
    no_headers: bool,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// Two texts, of which the second should be.
struct Texts {
    is: String,
    should_be: String,
    /// What is shown unless another program does that.
    summary: String,
}

impl DiffArgs {
    /// Runs the command.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let texts = if self.files.is_empty() { self.of_cluster().await } else { self.of_files().await };
        let texts = texts.map_err(|failure| failure.with_status(FAILED))?;
        if texts.summary.is_empty() {
            return Ok(());
        }
        let shown = match env::var(EXTERNAL) {
            Ok(program) if !program.trim().is_empty() => external(&program, &texts),
            Ok(_) | Err(_) => print::out(&texts.summary),
        };
        shown.map_err(|failure| failure.with_status(FAILED))?;
        Err(Failure::silent(DIFFERENT))
    }

    async fn of_cluster(&self) -> Result<Texts, Failure> {
        let calls = Calls::new(self.connect.connect().await?);
        let namespace = self.files.scope.of(calls.session());
        let mut rows = super::get::list(&calls, &namespace, false).await?;
        rows.retain(differs);
        let text = |count: fn(&GetDeploymentResponse) -> Option<i32>| -> String {
            let lines = rows.iter().map(|row| {
                format!("{}/{}: {}\n", row.namespace, words::target(row), words::count(count(row)))
            });
            lines.collect()
        };
        let layout =
            workloads::Layout { wide: false, headers: !self.no_headers, namespaces: namespace.is_empty() };
        Ok(Texts {
            is: text(|row| row.current_replicas),
            should_be: text(|row| row.desired_replicas),
            summary: if rows.is_empty() {
                String::new()
            } else {
                workloads::differences(&rows, layout, Timestamp::now())
            },
        })
    }

    async fn of_files(&self) -> Result<Texts, Failure> {
        let (_, plan) = self.files.plan(&self.connect).await?;
        let text = |count: fn(&Change) -> Option<i32>| -> String {
            let lines = plan.needed().map(|change| {
                format!("{}/{}: {}\n", change.namespace, change.target, words::count(count(change)))
            });
            lines.collect()
        };
        let summary = plan.needed().map(|change| format!("{}\n", apply::line(change)));
        Ok(Texts {
            is: text(|change| change.before),
            should_be: text(|change| change.after),
            summary: summary.collect(),
        })
    }
}

/// Whether somebody should look at it.
fn differs(row: &GetDeploymentResponse) -> bool {
    match row.state() {
        DeploymentState::InSync => row.steady_conflict.is_some() || row.last_failure.is_some(),
        DeploymentState::Unmanaged => false,
        DeploymentState::Unknown
        | DeploymentState::Drifted
        | DeploymentState::Ignored
        | DeploymentState::Missing
        | DeploymentState::OutOfScope
        | DeploymentState::Contested
        | DeploymentState::Autoscaled
        | DeploymentState::Unsupported => true,
    }
}

/// Shows the difference with another program, which gets two folders, as from kubectl.
fn external(program: &str, texts: &Texts) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::new(format!("{program}: {error}"));
    let folder =
        env::temp_dir().join(format!("kubectl-replicas-{}-{:08x}", std::process::id(), fastrand::u32(..)));
    let (is, should_be) = (folder.join("LIVE"), folder.join("MERGED"));
    let shown = (|| {
        for (side, text) in [(&is, &texts.is), (&should_be, &texts.should_be)] {
            fs::create_dir_all(side)?;
            fs::write(side.join("replicas"), text)?;
        }
        let mut words = program.split_whitespace();
        Command::new(words.next().unwrap_or_default()).args(words).args([&is, &should_be]).status()
    })();
    let _ = fs::remove_dir_all(&folder);
    let status = shown.map_err(failed)?;
    match status.code() {
        Some(0 | 1) => Ok(()),
        _ => Err(Failure::new(format!("{program}: {status}"))),
    }
}
