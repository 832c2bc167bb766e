//! `pin`: manages workloads at the count that they have now.

use clap::Args;

use super::set::{self, HowArgs};
use crate::bulk::{self, Outcome, Report};
use crate::calls::Calls;
use crate::change::ChangeArgs;
use crate::dry_run::DryRun;
use crate::failure::Failure;
use crate::output::print;
use crate::select::{Among, SelectArgs, Selected};

const EXAMPLES: &str = "\
Examples:
  # web must keep the count that it has
  kubectl replicas pin web

  # Everything in the namespace that is not managed yet
  kubectl replicas pin --all --dry-run
  kubectl replicas pin --all

  # Everything in all namespaces but those that the server excludes
  kubectl replicas pin --all -A

`kubectl replicas unpin` does the opposite.";

/// Why a server never manages some of the workloads that it lists.
const NEVER_MANAGED: &[&str] = &["NAMESPACE_EXCLUDED", "OWN_WORKLOAD"];

/// Manage workloads at the count that they have now
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct PinArgs {
    #[command(flatten)]
    select: SelectArgs,
    #[command(flatten)]
    how: HowArgs,
    /// All namespaces, without those that the server excludes
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    all_namespaces: bool,
    #[command(flatten)]
    change: ChangeArgs,
}

impl PinArgs {
    /// Runs the command.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let (calls, mut namespace) = self.change.connect().await?;
        if self.all_namespaces {
            namespace.clear();
        }
        let selected = self.select.select(&calls, &namespace, Among::Unmanaged).await?;
        if selected.is_empty() {
            return print::nothing(&namespace);
        }
        let leave_out = if self.all_namespaces { NEVER_MANAGED } else { &[] };
        let report = Report { quiet: self.change.quiet, done: "pinned", leave_out };
        let (how, dry_run) = (&self.how, self.change.dry_run());
        bulk::run(selected, report, |selected| pin(&calls, selected, how, dry_run)).await
    }
}

async fn pin(calls: &Calls, selected: Selected, how: &HowArgs, dry_run: DryRun) -> Outcome {
    let Selected { namespace, target, mut current } = selected;
    let failed = |failure| Err((target.to_string(), failure));
    if current.is_none() {
        match calls.one(&namespace, &target).await {
            Ok(found) if found.desired_replicas.is_some() => {
                return Ok(format!(
                    "{target} is managed already ({})",
                    found.desired_replicas.unwrap_or_default()
                ));
            }
            Ok(found) => current = found.current_replicas,
            Err(failure) => return failed(failure),
        }
    }
    let Some(count) = current else {
        return failed(Failure::new(format!("the current count of {target} is not known")));
    };
    let until = match how.until.time() {
        Ok(until) => until,
        Err(failure) => return failed(failure),
    };
    let mut request = how.request(&namespace, &target, count, until);
    // Somebody may have set another count since it was listed.
    request.expected_generation.get_or_insert(0);
    set::store(calls, target, request, dry_run).await
}
