//! `ignore` and `enforce`: whether drift is repaired.

use clap::Args;
use jiff::Timestamp;
use replica_count_api::proto::{EnforcementMode, SetEnforcementRequest};
use replica_count_api::response::timestamp;

use crate::bulk::{self, Outcome, Report};
use crate::calls::Calls;
use crate::change::{ChangeArgs, rehearse};
use crate::dry_run::DryRun;
use crate::failure::Failure;
use crate::output::words;
use crate::select::{Among, SelectArgs, Selected};
use crate::until::UntilArgs;

const IGNORE_EXAMPLES: &str = "\
Examples:
  # Leave web alone for two hours, then repair it again
  kubectl replicas ignore web --for 2h

  # Leave all of the namespace alone until a time
  kubectl replicas ignore --all --until 2030-01-01T08:00:00Z";

const ENFORCE_EXAMPLES: &str = "\
Examples:
  # Repair drift of web again
  kubectl replicas enforce web";

/// Stop repairing drift, for good or for some time
#[derive(Args, Debug)]
#[command(after_help = IGNORE_EXAMPLES)]
pub(crate) struct IgnoreArgs {
    #[command(flatten)]
    until: UntilArgs,
    #[command(flatten)]
    which: WhichArgs,
}

/// Repair drift again
#[derive(Args, Debug)]
#[command(after_help = ENFORCE_EXAMPLES)]
pub(crate) struct EnforceArgs {
    #[command(flatten)]
    which: WhichArgs,
}

#[derive(Args, Debug)]
struct WhichArgs {
    #[command(flatten)]
    select: SelectArgs,
    #[command(flatten)]
    change: ChangeArgs,
}

impl IgnoreArgs {
    /// Runs the command.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let until = self.until.time()?;
        self.which.run(EnforcementMode::Ignore, until).await
    }
}

impl EnforceArgs {
    /// Runs the command.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        self.which.run(EnforcementMode::Enforce, None).await
    }
}

impl WhichArgs {
    async fn run(self, mode: EnforcementMode, until: Option<Timestamp>) -> Result<(), Failure> {
        let (calls, namespace) = self.change.connect().await?;
        let selected = self.select.select(&calls, &namespace, Among::Managed).await?;
        if selected.is_empty() {
            return crate::output::print::nothing(&namespace);
        }
        let done = if mode == EnforcementMode::Ignore { "ignored" } else { "enforced" };
        let report = Report { quiet: self.change.quiet, done, leave_out: &[] };
        let dry_run = self.change.dry_run();
        bulk::run(selected, report, |selected| change(&calls, selected, mode, until, dry_run)).await
    }
}

async fn change(
    calls: &Calls,
    selected: Selected,
    mode: EnforcementMode,
    until: Option<Timestamp>,
    dry_run: DryRun,
) -> Outcome {
    let Selected { namespace, target, .. } = selected;
    if dry_run != DryRun::None {
        return rehearse(calls, &namespace, &target, &done(mode, until)).await;
    }
    let request = SetEnforcementRequest {
        name: target.name.clone(),
        namespace,
        kind: target.kind.into(),
        mode: mode.into(),
        until: until.map(timestamp),
        ..SetEnforcementRequest::default()
    };
    match calls.enforce(request).await {
        Ok(answer) => Ok(format!("{target} {}", done(mode, answer.until.and_then(words::time)))),
        Err(status) => Err((target.to_string(), calls.explain("SetEnforcement", &status))),
    }
}

/// What becomes of a workload.
fn done(mode: EnforcementMode, until: Option<Timestamp>) -> String {
    match (mode, until) {
        (EnforcementMode::Ignore, Some(until)) => format!("ignored until {}", words::second(until)),
        (EnforcementMode::Ignore, None) => "ignored".to_owned(),
        (EnforcementMode::Enforce | EnforcementMode::ModeUnspecified, _) => "enforced".to_owned(),
    }
}
