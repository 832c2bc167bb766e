//! `pin`: manages workloads at the count that they have now.

use clap::Args;

use super::set::{self, HowArgs};
use crate::bulk::{self, Outcome, Report};
use crate::calls::Calls;
use crate::connect::ConnectArgs;
use crate::dry_run::{DryRun, DryRunArgs};
use crate::failure::Failure;
use crate::output::print;
use crate::scope::ScopeArgs;
use crate::select::{Among, SelectArgs, Selected};

const EXAMPLES: &str = "\
Examples:
  # web must keep the count that it has
  kubectl replicas pin web

  # Everything in the namespace that is not managed yet
  kubectl replicas pin --all --dry-run
  kubectl replicas pin --all

`kubectl replicas unpin` does the opposite.";

/// Manage workloads at the count that they have now
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct PinArgs {
    #[command(flatten)]
    select: SelectArgs,
    #[command(flatten)]
    how: HowArgs,
    #[command(flatten)]
    dry_run: DryRunArgs,
    /// Print nothing if it succeeds
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    scope: ScopeArgs,
    #[command(flatten)]
    connect: ConnectArgs,
}

impl PinArgs {
    /// Runs the command.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let calls = Calls::new(self.connect.connect().await?);
        let namespace = self.scope.of(calls.session());
        let selected = self.select.select(&calls, &namespace, Among::Unmanaged).await?;
        if selected.is_empty() {
            return print::nothing(&namespace);
        }
        let (how, dry_run) = (&self.how, self.dry_run.dry_run);
        bulk::run(selected, Report { quiet: self.quiet, done: "pinned" }, |selected| {
            pin(&calls, selected, how, dry_run)
        })
        .await
    }
}

async fn pin(calls: &Calls, selected: Selected, how: &HowArgs, dry_run: DryRun) -> Outcome {
    let Selected { namespace, target, mut current } = selected;
    let failed = |failure| Err((target.to_string(), failure));
    if current.is_none() {
        match super::get::one(calls, &namespace, &target).await {
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
