//! `version`: of this command, and of the servers.

use clap::Args;

use crate::connect::ConnectArgs;
use crate::failure::Failure;
use crate::output::print;

const EXAMPLES: &str = "\
Examples:
  kubectl replicas version
  kubectl replicas version --client";

/// Show the versions of this command and of the servers
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct VersionArgs {
    /// Only of this command
    #[arg(long)]
    client: bool,
    #[command(flatten)]
    connect: ConnectArgs,
}

impl VersionArgs {
    /// Runs the command.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        print::out(&format!("Client Version: {}\n", env!("CARGO_PKG_VERSION")))?;
        if self.client {
            return Ok(());
        }
        let session = self.connect.connect().await?;
        let mut versions: Vec<_> =
            session.pods().await?.into_iter().flatten().map(|pod| pod.version).collect();
        versions.sort();
        versions.dedup();
        let versions = if versions.is_empty() {
            "unknown (no pod of it is seen)".to_owned()
        } else {
            versions.join(", ")
        };
        print::out(&format!("Server Version: {versions}\n"))
    }
}
