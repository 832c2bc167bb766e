//! `diff`: where the cluster is not as desired, or the server not as files say.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::process::Command;
use std::{env, fs, io};

use clap::Args;
use jiff::Timestamp;
use replica_count_api::proto::{DeploymentState, GetDeploymentResponse};

use super::apply::{self, FilesArgs};
use crate::calls::Calls;
use crate::connect::ConnectArgs;
use crate::failure::Failure;
use crate::manifest::{Change, Setting, entry_of};
use crate::output::{lines, print, words, workloads};
use crate::target::kind_name;

/// The exit status if there are differences.
const DIFFERENT: u8 = 1;
/// The exit status if it is not known whether there are.
const FAILED: u8 = 2;

/// A program that shows differences of two folders instead.
const EXTERNAL: &str = "KUBECTL_EXTERNAL_DIFF";

/// The longest name of a file that every common file system takes, in bytes.
const LONGEST_NAME: usize = 255;

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

/// What differs.
struct Differences {
    files: Vec<Pair>,
    /// What is shown unless another program does that.
    summary: String,
}

/// Two texts, of which the second should be.
struct Pair {
    name: String,
    is: String,
    should_be: String,
}

impl DiffArgs {
    /// Runs the command.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let differences = if self.files.is_empty() { self.of_cluster().await } else { self.of_files().await };
        let differences = differences.map_err(|failure| failure.with_status(FAILED))?;
        if differences.summary.is_empty() {
            return Ok(());
        }
        let shown = match env::var(EXTERNAL) {
            Ok(program) if !program.trim().is_empty() => external(&program, &differences.files),
            Ok(_) | Err(_) => print::out(&differences.summary),
        };
        shown.map_err(|failure| failure.with_status(FAILED))?;
        Err(Failure::silent(DIFFERENT))
    }

    async fn of_cluster(&self) -> Result<Differences, Failure> {
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
        let (is, should_be) = (text(|row| row.current_replicas), text(|row| row.desired_replicas));
        Ok(Differences {
            files: vec![Pair { name: "replicas".to_owned(), is, should_be }],
            summary: if rows.is_empty() {
                String::new()
            } else {
                workloads::differences(&rows, layout, Timestamp::now())
            },
        })
    }

    async fn of_files(&self) -> Result<Differences, Failure> {
        let (_, plan) = self.files.plan(&self.connect).await?;
        let files = plan.needed().map(|change| {
            let Change { namespace, target, before, after, .. } = change;
            let text = |setting: &Option<Setting>| {
                setting
                    .as_ref()
                    .map_or_else(|| Ok(String::new()), |setting| entry_of(namespace, target, setting))
            };
            let name = format!("{}.{namespace}.{}", kind_name(target.kind), target.name);
            Ok(Pair { name: file_name(name), is: text(before)?, should_be: text(after)? })
        });
        let files = files.collect::<Result<_, Failure>>()?;
        Ok(Differences { files, summary: lines(plan.needed().map(apply::line)) })
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

/// A name for a file, unique even if the end of a long one must be left out.
fn file_name(name: String) -> String {
    if name.len() <= LONGEST_NAME {
        return name;
    }
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    let hash = format!("-{:016x}", hasher.finish());
    let begin = name.floor_char_boundary(LONGEST_NAME - hash.len());
    format!("{}{hash}", &name[..begin])
}

/// Shows the difference with another program, which gets two folders, as from kubectl.
fn external(program: &str, files: &[Pair]) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::new(format!("{program}: {error}"));
    let folder =
        env::temp_dir().join(format!("kubectl-replicas-{}-{:08x}", std::process::id(), fastrand::u32(..)));
    let (is, should_be) = (folder.join("LIVE"), folder.join("MERGED"));
    let shown = (|| {
        fs::create_dir_all(&is)?;
        fs::create_dir(&should_be)?;
        for file in files {
            fs::write(is.join(&file.name), &file.is)?;
            fs::write(should_be.join(&file.name), &file.should_be)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_is_cut_and_stays_unique() {
        let namespace = "n".repeat(63);
        let long = |end: &str| file_name(format!("Deployment.{namespace}.{}{end}", "w".repeat(252)));
        let names = [long("a"), long("b")];
        assert!(names.iter().all(|name| name.len() == LONGEST_NAME), "{names:?}");
        assert_ne!(names[0], names[1]);
        assert!(names[0].starts_with(&format!("Deployment.{namespace}.www")));
        assert_eq!(names[0], long("a"), "the same before and after");
        let short = "x".repeat(LONGEST_NAME);
        assert_eq!(file_name(short.clone()), short);
    }
}
