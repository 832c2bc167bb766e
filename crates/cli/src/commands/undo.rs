//! `undo`: goes back to the setting before, as the history has it.

use clap::Args;
use replica_count_api::proto::{
    DeleteDeploymentRequest, EnforcementMode, Event, EventType, GetDeploymentResponse, ListEventsRequest,
    SetDeploymentRequest, SetEnforcementRequest,
};

use crate::calls::Calls;
use crate::connect::ConnectArgs;
use crate::dry_run::{DryRun, DryRunArgs};
use crate::failure::Failure;
use crate::output::{print, words};
use crate::scope::NamespaceArgs;
use crate::target::Target;

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
    dry_run: DryRunArgs,
    /// Print nothing if it succeeds
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    namespace: NamespaceArgs,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// The opposite of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opposite {
    Set(i32),
    Delete,
    Enforce,
    Ignore,
}

impl UndoArgs {
    /// Runs the command.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let calls = Calls::new(self.connect.connect().await?);
        let namespace = self.namespace.of(calls.session());
        let current = super::get::one(&calls, &namespace, &self.target).await.ok();
        let event = self.last_change(&calls, &namespace).await?;
        let opposite = opposite(&event, current.as_ref());
        let generation = current.map_or(0, |current| current.generation);
        if event.generation != generation {
            return Err(Failure::new(format!(
                "the last change of {} is not in the history any more, or not yet",
                self.target
            ))
            .advise("Set the count that you want with `kubectl replicas set`."));
        }
        if self.dry_run.dry_run == DryRun::None {
            self.change(&calls, &namespace, opposite, &event).await?;
        }
        if self.quiet {
            return Ok(());
        }
        let by = if event.by.is_empty() { String::new() } else { format!(" by {}", event.by) };
        let undone = format!("undoes generation {generation}{by}");
        let result = match opposite {
            Opposite::Set(count) => format!("set to {count}"),
            Opposite::Delete => "is no longer managed".to_owned(),
            Opposite::Enforce => "enforced".to_owned(),
            Opposite::Ignore => "ignored".to_owned(),
        };
        print::out(&format!("{} {result} ({undone}){}\n", self.target, self.dry_run.dry_run.suffix()))
    }

    async fn last_change(&self, calls: &Calls, namespace: &str) -> Result<Event, Failure> {
        let types =
            [EventType::EventSet, EventType::EventDeleted, EventType::EventEnforced, EventType::EventIgnored];
        let request = ListEventsRequest {
            name: self.target.name.clone(),
            namespace: namespace.to_owned(),
            kind: Some(self.target.kind.into()),
            types: types.map(Into::into).to_vec(),
            ..ListEventsRequest::default()
        };
        calls.events(request, 1).await?.pop().ok_or_else(|| {
            Failure::new(format!("no change of {} is remembered in {namespace} namespace", self.target))
        })
    }

    async fn change(
        &self,
        calls: &Calls,
        namespace: &str,
        opposite: Opposite,
        event: &Event,
    ) -> Result<(), Failure> {
        let (name, namespace, kind) =
            (self.target.name.clone(), namespace.to_owned(), self.target.kind.into());
        // Only if nobody has changed it meanwhile.
        let expected_generation = Some(event.generation);
        match opposite {
            Opposite::Set(count) => {
                let reason = self.reason.clone().unwrap_or_else(|| undoing(event));
                let request = SetDeploymentRequest {
                    name,
                    namespace,
                    kind,
                    replicas: Some(count),
                    reason,
                    expected_generation,
                    allow_missing: true,
                    allow_autoscaled: true,
                    ..SetDeploymentRequest::default()
                };
                let answer = calls.set(request).await;
                answer.map(|_| ()).map_err(|status| calls.explain("SetDeployment", &status))
            }
            Opposite::Delete => {
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
            Opposite::Enforce | Opposite::Ignore => {
                let mode = match opposite {
                    Opposite::Ignore => EnforcementMode::Ignore,
                    Opposite::Enforce | Opposite::Set(_) | Opposite::Delete => EnforcementMode::Enforce,
                };
                let request = SetEnforcementRequest {
                    name,
                    namespace,
                    kind,
                    mode: mode.into(),
                    expected_generation,
                    ..SetEnforcementRequest::default()
                };
                let answer = calls.enforce(request).await;
                answer.map(|_| ()).map_err(|status| calls.explain("SetEnforcement", &status))
            }
        }
    }
}

fn opposite(event: &Event, current: Option<&GetDeploymentResponse>) -> Opposite {
    match event.r#type() {
        EventType::EventIgnored => Opposite::Enforce,
        EventType::EventEnforced => Opposite::Ignore,
        // What holds after a temporary count is known.
        EventType::EventSet if current.is_some_and(|current| current.hold_until.is_some()) => {
            current.and_then(|current| current.replicas_afterwards).map_or(Opposite::Delete, Opposite::Set)
        }
        _ => event.from.map_or(Opposite::Delete, Opposite::Set),
    }
}

/// The reason if none is given.
fn undoing(event: &Event) -> String {
    match event.at.and_then(words::time) {
        Some(at) => format!("undo of the change at {}", words::second(at)),
        None => "undo".to_owned(),
    }
}
