//! `delete`: forgets desired counts.

use clap::Args;
use replica_count_api::proto::DeleteDeploymentRequest;

use crate::bulk::{self, Report};
use crate::calls::Calls;
use crate::change::{ChangeArgs, rehearse};
use crate::dry_run::DryRun;
use crate::failure::Failure;
use crate::select::{Among, SelectArgs, Selected};

const EXAMPLES: &str = "\
Examples:
  # web keeps the count that it has, and is no longer managed
  kubectl replicas delete web

  # The same for all that have a label
  kubectl replicas delete -l app=shop";

/// Forget desired counts: workloads keep the counts they have
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES, visible_alias = "unpin")]
pub(crate) struct DeleteArgs {
    #[command(flatten)]
    select: SelectArgs,
    /// Delete only a setting that still has this generation
    #[arg(long, value_name = "N")]
    if_generation: Option<i64>,
    #[command(flatten)]
    change: ChangeArgs,
}

impl DeleteArgs {
    /// Runs the command.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let (calls, namespace) = self.change.connect().await?;
        let selected = self.select.select(&calls, &namespace, Among::Managed).await?;
        if selected.is_empty() {
            return crate::output::print::nothing(&namespace);
        }
        let dry_run = self.change.dry_run();
        let report = Report { quiet: self.change.quiet, done: "deleted", leave_out: &[] };
        bulk::run(selected, report, |selected| forget(&calls, selected, self.if_generation, dry_run)).await
    }
}

/// Forgets one count.
pub(crate) async fn forget(
    calls: &Calls,
    selected: Selected,
    expected_generation: Option<i64>,
    dry_run: DryRun,
) -> bulk::Outcome {
    let Selected { namespace, target, .. } = selected;
    if dry_run != DryRun::None {
        return rehearse(calls, &namespace, &target, "is no longer managed").await;
    }
    let request = DeleteDeploymentRequest {
        name: target.name.clone(),
        namespace,
        expected_generation,
        kind: target.kind.into(),
        ..DeleteDeploymentRequest::default()
    };
    match calls.delete(request).await {
        Ok(answer) => {
            let old = answer.old_replicas.map(|old| format!(" (its count was {old})")).unwrap_or_default();
            Ok(format!("{target} is no longer managed{old}"))
        }
        Err(status) => Err((target.to_string(), calls.explain("DeleteDeployment", &status))),
    }
}
