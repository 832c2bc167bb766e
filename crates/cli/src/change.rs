//! The flags of commands that change settings of a namespace.

use clap::Args;

use crate::bulk::Outcome;
use crate::calls::Calls;
use crate::connect::ConnectArgs;
use crate::dry_run::{DryRun, DryRunArgs};
use crate::failure::Failure;
use crate::scope::NamespaceArgs;
use crate::target::Target;

/// How, where and over which connection settings are changed.
#[derive(Args, Clone, Debug)]
pub(crate) struct ChangeArgs {
    #[command(flatten)]
    dry_run: DryRunArgs,
    /// Print nothing if it succeeds
    #[arg(short, long)]
    pub(crate) quiet: bool,
    #[command(flatten)]
    namespace: NamespaceArgs,
    #[command(flatten)]
    connect: ConnectArgs,
}

impl ChangeArgs {
    /// Whether changes are only tried.
    pub(crate) fn dry_run(&self) -> DryRun {
        self.dry_run.dry_run
    }

    /// Refuses an address of a server whose cluster is not named: the current context may be that of another one.
    pub(crate) fn require_cluster(&self) -> Result<(), Failure> {
        let ConnectArgs { server, context, kubeconfig, .. } = &self.connect;
        if server.is_some() && context.is_none() && kubeconfig.is_none() {
            let message = "with --server or REPLICAS_SERVER, the cluster of that server must be named";
            return Err(Failure::usage(message).advise(
                "Name it with --context or --kubeconfig. Without an address, the server is found in the cluster.",
            ));
        }
        Ok(())
    }

    /// Connects. Returns the namespace, too.
    pub(crate) async fn connect(&self) -> Result<(Calls, String), Failure> {
        let calls = Calls::new(self.connect.connect().await?);
        let namespace = self.namespace.of(calls.session());
        Ok((calls, namespace))
    }
}

/// Tries a change for which the server has no dry run: whether there is a count can be asked. `done` is what would be done.
pub(crate) async fn rehearse(calls: &Calls, namespace: &str, target: &Target, done: &str) -> Outcome {
    match calls.one(namespace, target).await {
        Ok(found) if found.desired_replicas.is_some() => {
            Ok(format!("{target} {done}{}", DryRun::Client.suffix()))
        }
        Ok(_) => Err((target.to_string(), Failure::new(format!("{target} is not managed")))),
        Err(failure) => Err((target.to_string(), failure)),
    }
}
