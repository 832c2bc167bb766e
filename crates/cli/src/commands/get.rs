//! `get`: what is managed, and in which state it is.

use clap::Args;
use replica_count_api::proto::{
    DeploymentState, GetDeploymentRequest, GetDeploymentResponse, ListDeploymentsRequest,
};

use crate::bulk;
use crate::calls::{ALL_KINDS, Calls};
use crate::connect::ConnectArgs;
use crate::failure::Failure;
use crate::output::{self, OutputArgs};
use crate::scope::ScopeArgs;
use crate::target::Target;

const EXAMPLES: &str = "\
Examples:
  # What is managed in the namespace of the context
  kubectl replicas get

  # One workload, with everything that is known
  kubectl replicas get web -o yaml

  # Everything in all namespaces, also what is not managed
  kubectl replicas get -A --unmanaged";

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
        if self.targets.is_empty() {
            let rows = list(&calls, &namespace, self.unmanaged).await?;
            return self.output.print(&rows, &namespace);
        }
        if namespace.is_empty() {
            return Err(Failure::usage("a workload cannot be got by name across all namespaces"));
        }
        let (mut found, mut failures) = (Vec::new(), Vec::new());
        for target in &self.targets {
            match one(&calls, &namespace, target).await {
                Ok(workload) => found.push(workload),
                Err(failure) => failures.push(failure),
            }
        }
        self.output.print_named(&found, self.targets.len() > 1, &namespace)?;
        output::fail_together(failures)
    }
}

/// One workload, by its name.
pub(crate) async fn one(
    calls: &Calls,
    namespace: &str,
    target: &Target,
) -> Result<GetDeploymentResponse, Failure> {
    let request = GetDeploymentRequest {
        name: target.name.clone(),
        namespace: namespace.to_owned(),
        kind: target.kind.into(),
        ..GetDeploymentRequest::default()
    };
    calls.get(request).await.map_err(|status| calls.explain("GetDeployment", &status))
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
    Ok(bulk::gather(rows, |row| detailed(calls, row)).await)
}

/// Adds what rows do not have. A row of which nothing more can be read, because it is gone by now or for want of
/// rights, stays as it is.
async fn detailed(calls: &Calls, row: GetDeploymentResponse) -> GetDeploymentResponse {
    if row.state() == DeploymentState::Unmanaged {
        return row;
    }
    let request = GetDeploymentRequest {
        name: row.name.clone(),
        namespace: row.namespace.clone(),
        kind: row.kind,
        other_kind: row.other_kind.clone(),
    };
    calls.get(request).await.unwrap_or(row)
}
