//! `ignore` and `enforce`: whether drift is repaired.

use clap::Args;
use jiff::Timestamp;
use replica_count_api::proto::{EnforcementMode, SetEnforcementRequest};
use replica_count_api::response::timestamp;

use crate::bulk::{self, Outcome, Report};
use crate::calls::Calls;
use crate::connect::ConnectArgs;
use crate::failure::Failure;
use crate::output::words;
use crate::scope::NamespaceArgs;
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
    /// Print nothing if it succeeds
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    namespace: NamespaceArgs,
    #[command(flatten)]
    connect: ConnectArgs,
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
        let calls = Calls::new(self.connect.connect().await?);
        let namespace = self.namespace.of(calls.session());
        let selected = self.select.select(&calls, &namespace, Among::Managed).await?;
        if selected.is_empty() {
            return crate::output::print::nothing(&namespace);
        }
        let done = if mode == EnforcementMode::Ignore { "ignored" } else { "enforced" };
        bulk::run(selected, Report { quiet: self.quiet, done }, |selected| {
            change(&calls, selected, mode, until)
        })
        .await
    }
}

async fn change(
    calls: &Calls,
    selected: Selected,
    mode: EnforcementMode,
    until: Option<Timestamp>,
) -> Outcome {
    let Selected { namespace, target, .. } = selected;
    let request = SetEnforcementRequest {
        name: target.name.clone(),
        namespace,
        kind: target.kind.into(),
        mode: mode.into(),
        until: until.map(timestamp),
        ..SetEnforcementRequest::default()
    };
    match calls.enforce(request).await {
        Ok(answer) => Ok(match (mode, answer.until.and_then(words::time)) {
            (EnforcementMode::Ignore, Some(until)) => {
                format!("{target} ignored until {}", words::second(until))
            }
            (EnforcementMode::Ignore, None) => format!("{target} ignored"),
            (EnforcementMode::Enforce | EnforcementMode::ModeUnspecified, _) => format!("{target} enforced"),
        }),
        Err(status) => Err((target.to_string(), calls.explain("SetEnforcement", &status))),
    }
}
