//! `get`: what is managed, and in which state it is.

use clap::Args;
use replica_count_api::proto::{
    DeploymentState, Event, GetDeploymentRequest, GetDeploymentResponse, ListDeploymentsRequest,
    WatchDeploymentsRequest,
};
use tonic::Code;

use super::watch;
use crate::bulk;
use crate::calls::{ALL_KINDS, Calls};
use crate::connect::ConnectArgs;
use crate::failure::Failure;
use crate::output::{self, OutputArgs, events};
use crate::scope::ScopeArgs;
use crate::select::labelled;
use crate::target::Target;

const EXAMPLES: &str = "\
Examples:
  # What is managed in the namespace of the context
  kubectl replicas get

  # One workload, with everything that is known
  kubectl replicas get web -o yaml

  # Everything in all namespaces, also what is not managed
  kubectl replicas get -A --unmanaged

  # Then whatever changes
  kubectl replicas get -w";

/// Show counts: the desired and the current one, and the state
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct GetArgs {
    /// Workloads: NAME or KIND/NAME [default: all that are managed]
    #[arg(value_name = "[KIND/]NAME")]
    targets: Vec<Target>,
    /// List workloads that are not managed, too
    #[arg(long, conflicts_with = "targets")]
    unmanaged: bool,
    /// Only workloads with these labels
    #[arg(short = 'l', long, value_name = "SELECTOR", conflicts_with = "targets")]
    selector: Option<String>,
    /// Then show each workload again whenever something happens to it
    #[arg(short, long)]
    watch: bool,
    #[command(flatten)]
    scope: ScopeArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    connect: ConnectArgs,
}

impl GetArgs {
    /// Runs the command.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let calls = Calls::new(self.connect.connect().await?);
        let namespace = self.scope.of(calls.session());
        if namespace.is_empty() && !self.targets.is_empty() {
            return Err(Failure::usage("a workload cannot be got by name across all namespaces"));
        }
        if self.watch { self.follow(&calls, &namespace).await } else { self.show(&calls, &namespace).await }
    }

    /// Shows what is there now.
    async fn show(&self, calls: &Calls, namespace: &str) -> Result<(), Failure> {
        if self.targets.is_empty() {
            let mut rows = list(calls, namespace, self.unmanaged).await?;
            if let Some(selector) = &self.selector {
                let labelled = labelled(calls.session(), namespace, selector).await?;
                let key = |row: &GetDeploymentResponse| (row.namespace.clone(), row.kind(), row.name.clone());
                rows.retain(|row| labelled.contains(&key(row)));
            }
            return self.output.print(&rows, namespace);
        }
        let (mut found, mut failures) = (Vec::new(), Vec::new());
        for target in &self.targets {
            match calls.one(namespace, target).await {
                Ok(workload) => found.push(workload),
                Err(failure) => failures.push(failure),
            }
        }
        self.output.print_named(&found, self.targets.len() > 1, namespace)?;
        output::fail_together(failures)
    }

    /// Shows what is there now, and then each workload to which something happens.
    async fn follow(&self, calls: &Calls, namespace: &str) -> Result<(), Failure> {
        let request = WatchDeploymentsRequest {
            namespace: namespace.to_owned(),
            kinds: ALL_KINDS.map(Into::into).to_vec(),
            ..WatchDeploymentsRequest::default()
        };
        let again = OutputArgs { no_headers: true, ..self.output.clone() };
        let labelled = match &self.selector {
            Some(selector) => Some(labelled(calls.session(), namespace, selector).await?),
            None => None,
        };
        let is_meant = |event: &Event| {
            let key = || (event.namespace.clone(), event.kind(), event.name.clone());
            labelled.as_ref().is_none_or(|labelled| labelled.contains(&key()))
                && (self.targets.is_empty() || self.targets.contains(&events::target(event)))
        };
        let show = async |event: &Event| {
            if !is_meant(event) {
                return Ok(());
            }
            // A workload that is gone by now is not shown.
            let workload = calls.one(&event.namespace, &events::target(event)).await;
            workload.map_or(Ok(()), |workload| again.print_named(&[workload], false, namespace))
        };
        watch::follow(calls, request, async || self.show(calls, namespace).await, show).await
    }
}

/// All workloads of a namespace, or of all if it is empty, with everything that is known of the managed ones.
pub(crate) async fn list(
    calls: &Calls,
    namespace: &str,
    unmanaged: bool,
) -> Result<Vec<GetDeploymentResponse>, Failure> {
    let request = ListDeploymentsRequest {
        namespace: namespace.to_owned(),
        include_unmanaged: unmanaged,
        kinds: ALL_KINDS.map(Into::into).to_vec(),
        ..ListDeploymentsRequest::default()
    };
    let rows = calls.list(request).await.map_err(|status| calls.explain("ListDeployments", &status))?;
    bulk::gather(rows, |row| detailed(calls, row)).await.into_iter().collect()
}

/// Adds what rows do not have. A row that is gone by now stays as it is.
async fn detailed(calls: &Calls, row: GetDeploymentResponse) -> Result<GetDeploymentResponse, Failure> {
    if row.state() == DeploymentState::Unmanaged {
        return Ok(row);
    }
    let request = GetDeploymentRequest {
        name: row.name.clone(),
        namespace: row.namespace.clone(),
        kind: row.kind,
        other_kind: row.other_kind.clone(),
    };
    match calls.get(request).await {
        Err(status) if status.code() == Code::NotFound => Ok(row),
        answer => answer.map_err(|status| calls.explain("GetDeployment", &status)),
    }
}
