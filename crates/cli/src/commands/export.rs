//! `export`: writes what the server has as a file.

use clap::Args;

use crate::calls::Calls;
use crate::connect::ConnectArgs;
use crate::failure::Failure;
use crate::manifest::{FileFormat, render};
use crate::output::print;
use crate::scope::ScopeArgs;

const EXAMPLES: &str = "\
Examples:
  # All counts of the cluster, as the settings file has them
  kubectl replicas export -A > replicas.json

  # Those of a namespace, as objects for Git
  kubectl replicas export -n shop -o replicacounts > shop.yaml

`kubectl replicas apply -f FILE` reads each of the formats.";

/// Print all counts as a file that apply reads
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ExportArgs {
    /// Format
    #[arg(short, long, value_name = "FORMAT", default_value = "json")]
    output: FileFormat,
    #[command(flatten)]
    scope: ScopeArgs,
    #[command(flatten)]
    connect: ConnectArgs,
}

impl ExportArgs {
    /// Runs the command.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let calls = Calls::new(self.connect.connect().await?);
        let rows = super::get::list(&calls, &self.scope.of(calls.session()), false).await?;
        for row in rows.iter().filter(|row| row.desired_replicas.is_none() || !row.other_kind.is_empty()) {
            print::note(&format!(
                "left out: {}/{}, because this server does not support what is stored",
                row.namespace, row.name
            ));
        }
        print::out(&render(&rows, self.output)?)
    }
}
