//! `undo`: goes back to the setting before, as the history has it.

use clap::Args;
use jiff::Timestamp;
use replica_count_api::proto::{
    DeleteDeploymentRequest, EnforcementMode, Event, ListEventsRequest, SetDeploymentRequest,
    SetEnforcementRequest,
};
use replica_count_api::response::timestamp;

use crate::calls::Calls;
use crate::change::ChangeArgs;
use crate::dry_run::DryRun;
use crate::failure::Failure;
use crate::output::{print, words};
use crate::target::Target;
use crate::undo::{CHANGES, LAST_CHANGES, Step, undo};

const EXAMPLES: &str = "\
Examples:
  # See what would be undone, and undo it
  kubectl replicas undo web --dry-run
  kubectl replicas undo web

Undoing twice does it again.";

/// Go back to the setting before the last change of it
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct UndoArgs {
    /// The workload: NAME or KIND/NAME
    #[arg(value_name = "[KIND/]NAME")]
    target: Target,
    /// Why, for those who read it later
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    change: ChangeArgs,
}

impl UndoArgs {
    /// Runs the command.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let (calls, namespace) = self.change.connect().await?;
        let current = calls.one(&namespace, &self.target).await.ok();
        let changes = self.changes(&calls, &namespace).await?;
        let Some(event) = changes.first() else {
            let target = &self.target;
            return Err(Failure::new(format!(
                "no change of {target} is remembered in {namespace} namespace"
            )));
        };
        let step = undo(&changes, current.as_ref(), Timestamp::now().as_millisecond());
        let result = match step {
            Step::Set { replicas } => format!("set to {replicas}"),
            Step::Delete => "is no longer managed".to_owned(),
            Step::Enforce => "enforced".to_owned(),
            Step::Ignore { .. } => "ignored".to_owned(),
            Step::Unknown => return Err(self.unknown()),
        };
        if self.change.dry_run() == DryRun::None {
            self.change(&calls, &namespace, step, event).await?;
        }
        if self.change.quiet {
            return Ok(());
        }
        let by = if event.by.is_empty() { String::new() } else { format!(" by {}", event.by) };
        let undone = format!("undoes generation {}{by}", event.generation);
        print::out(&format!("{} {result} ({undone}){}\n", self.target, self.change.dry_run().suffix()))
    }

    fn unknown(&self) -> Failure {
        let target = &self.target;
        Failure::new(format!("what was before the last change of {target} is not in the history, or is over"))
            .advise("Say what you want with `kubectl replicas set`, `ignore` or `enforce`.")
    }

    async fn changes(&self, calls: &Calls, namespace: &str) -> Result<Vec<Event>, Failure> {
        let request = ListEventsRequest {
            name: self.target.name.clone(),
            namespace: namespace.to_owned(),
            kind: Some(self.target.kind.into()),
            types: CHANGES.map(Into::into).to_vec(),
            ..ListEventsRequest::default()
        };
        calls.events(request, LAST_CHANGES.into()).await
    }

    async fn change(&self, calls: &Calls, namespace: &str, step: Step, event: &Event) -> Result<(), Failure> {
        let (name, namespace, kind) =
            (self.target.name.clone(), namespace.to_owned(), self.target.kind.into());
        // Only if nobody has changed it meanwhile.
        let expected_generation = Some(event.generation);
        match step {
            Step::Set { replicas } => {
                let reason = self.reason.clone().unwrap_or_else(|| undoing(event));
                let request = SetDeploymentRequest {
                    name,
                    namespace,
                    kind,
                    replicas: Some(replicas),
                    reason,
                    expected_generation,
                    allow_missing: true,
                    allow_autoscaled: true,
                    ..SetDeploymentRequest::default()
                };
                let answer = calls.set(request).await;
                answer.map(|_| ()).map_err(|status| calls.explain("SetDeployment", &status))
            }
            Step::Delete => {
                let request = DeleteDeploymentRequest {
                    name,
                    namespace,
                    kind,
                    expected_generation,
                    ..DeleteDeploymentRequest::default()
                };
                let answer = calls.delete(request).await;
                answer.map(|_| ()).map_err(|status| calls.explain("DeleteDeployment", &status))
            }
            Step::Unknown => Err(self.unknown()),
            Step::Enforce | Step::Ignore { .. } => {
                let (mode, until) = match step {
                    Step::Ignore { until } => (EnforcementMode::Ignore, until),
                    _ => (EnforcementMode::Enforce, None),
                };
                let until = until.and_then(|until| Timestamp::from_millisecond(until).ok()).map(timestamp);
                let request = SetEnforcementRequest {
                    name,
                    namespace,
                    kind,
                    mode: mode.into(),
                    until,
                    expected_generation,
                };
                let answer = calls.enforce(request).await;
                answer.map(|_| ()).map_err(|status| calls.explain("SetEnforcement", &status))
            }
        }
    }
}

/// The reason if none is given.
fn undoing(event: &Event) -> String {
    match event.at.and_then(words::time) {
        Some(at) => format!("undo of the change at {}", words::second(at)),
        None => "undo".to_owned(),
    }
}
