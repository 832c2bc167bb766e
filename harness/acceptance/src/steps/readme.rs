//! The commands of the first README: a port-forward of 8080 and a grpcurl with the proto file.

use std::os::unix::fs::symlink;

use anyhow::{Context as _, Result, ensure};
use replica_count_testbed::workspace;
use serde_json::Value;

use super::{Step, passed};
use crate::certificates::Credentials;
use crate::fixture::{APPS, Fixture};
use crate::programs;
use crate::table::Outcome;

const FORWARD: &str =
    "kubectl port-forward --namespace replica-count-manager service/replica-count-manager 8080 8080";

/// Verbatim, except for the namespace.
const LIST: &str = r#"
grpcurl \
  -cacert certificates/ca/ca.crt \
  -cert certificates/client/client.crt \
  -key certificates/client/client.key \
  -d '{"Namespace": "acceptance"}' \
  -proto proto/deployments.proto \
  localhost:8080 \
  proto.DeploymentsService.ListDeployments
"#;

pub(super) const STEP: Step = Step {
    name: "readme",
    about: "the documented port-forward and grpcurl commands, with the proto file",
    run: |fixture| Box::pin(run(fixture)),
};

async fn run(fixture: &Fixture) -> Result<Outcome> {
    let folder = fixture.folder("readme")?;
    symlink(workspace::root()?.join("proto"), folder.join("proto"))?;
    Credentials::of_client(&fixture.kubernetes).await?.write(&folder.join("certificates"))?;
    fixture.managed("readme", 1).await?;
    let _forward = fixture.forward(&folder, FORWARD).await?;
    let answer: Value = serde_json::from_str(&programs::output(fixture.shell_command(&folder, LIST)).await?)?;
    let rows = answer["deploymentsReplicaConfig"].as_array().context("there are no rows")?;
    ensure!(
        rows.iter().any(|row| row["Name"] == "readme" && row["Namespace"] == APPS && row["Replicas"] == 1),
        "it lists {answer}"
    );
    Ok(passed("both commands work as written, and list the managed Deployment"))
}
