//! `handover`: leaves the count of a workload to its autoscaler.

mod autoscaler;
mod manifests;

use clap::Args;
use replica_count_api::proto::{DeleteDeploymentRequest, GetDeploymentResponse};

use crate::calls::Calls;
use crate::change::ChangeArgs;
use crate::dry_run::DryRun;
use crate::failure::Failure;
use crate::output::print;
use crate::target::Target;
use autoscaler::Autoscaler;
use manifests::Manifests;

const EXAMPLES: &str = "\
Examples:
  # See whether the autoscaler of web can take over, and what is in its way
  kubectl replicas handover web --to-hpa --dry-run

  # From now on the autoscaler decides
  kubectl replicas handover web --to-hpa

The count is managed until the autoscaler can act, so that nothing changes it in between. With --server, \
--context or --kubeconfig must name the cluster of that server.

Exit status: 0 if the autoscaler has taken over, 1 if something is in its way: the setting is kept then.";

/// Leave the count of a workload to its autoscaler, and stop managing it
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct HandoverArgs {
    /// The workload: NAME or KIND/NAME
    #[arg(value_name = "[KIND/]NAME")]
    target: Target,
    /// To the HorizontalPodAutoscaler that targets it
    #[arg(long, required = true)]
    to_hpa: bool,
    /// Accept an autoscaler that has no metrics yet: until it has, it only keeps the count within its limits
    #[arg(long)]
    allow_inactive: bool,
    /// Accept that the next `kubectl apply` without a count may set it to 1
    #[arg(long)]
    allow_last_applied: bool,
    #[command(flatten)]
    change: ChangeArgs,
}

impl HandoverArgs {
    /// Runs the command.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        // The setting is deleted on the server, and the autoscaler is one of the cluster.
        self.change.require_cluster()?;
        let (calls, namespace) = self.change.connect().await?;
        let found = calls.one(&namespace, &self.target).await?;
        let count = self.count(&found)?;
        let context = calls.session().context.as_ref().ok_or_else(|| {
            Failure::new("autoscalers are known only to Kubernetes, and there is no kubeconfig")
                .advise("Name one with --kubeconfig FILE.")
        })?;
        let client = context.client().await?;
        let autoscaler = Autoscaler::find(&client, &namespace, &self.target).await?;
        autoscaler.check(&namespace, count, self.allow_inactive)?;
        let manifests = Manifests::read(&client, &namespace, &self.target).await?;
        manifests.check(&namespace, &self.target, self.allow_last_applied)?;
        if self.change.dry_run() == DryRun::None {
            self.delete(&calls, &namespace, found.generation).await?;
        }
        if self.change.quiet {
            return Ok(());
        }
        let (target, suffix) = (&self.target, self.change.dry_run().suffix());
        print::out(&format!("{target} handed over to {autoscaler} (its count is {count}){suffix}\n"))?;
        print::note(&manifests.limits(&autoscaler));
        Ok(())
    }

    /// The count that the autoscaler takes over.
    fn count(&self, found: &GetDeploymentResponse) -> Result<i32, Failure> {
        let target = &self.target;
        let Some(desired) = found.desired_replicas else {
            return Err(Failure::new(format!("{target} is not managed: there is nothing to hand over")));
        };
        match found.current_replicas {
            Some(current) if current == desired => Ok(desired),
            Some(current) => Err(Failure::new(format!(
                "{target} has {current} replicas, and must have {desired}: the autoscaler would begin with the wrong count"
            ))
            .advise("Wait for the repair, or see what is in its way with `kubectl replicas diff`.")),
            None => Err(Failure::new(format!("the current count of {target} is not known"))),
        }
    }

    async fn delete(&self, calls: &Calls, namespace: &str, generation: i64) -> Result<(), Failure> {
        let request = DeleteDeploymentRequest {
            name: self.target.name.clone(),
            namespace: namespace.to_owned(),
            kind: self.target.kind.into(),
            // Only what has been checked is handed over.
            expected_generation: Some(generation),
            ..DeleteDeploymentRequest::default()
        };
        let deleted = calls.delete(request).await;
        deleted.map(drop).map_err(|status| calls.explain("DeleteDeployment", &status))
    }
}
