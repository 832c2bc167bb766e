//! How the server first lists the cluster: as a stream, or in pages if the API server does not support streams.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use kube::api::ListParams;
use replica_count_testbed::http;

use super::{Step, passed};
use crate::eventually::eventually;
use crate::fixture::{Fixture, NAME};
use crate::session::HTTP;
use crate::table::Outcome;

/// The Service of the plain port.
const METRICS: &str = "replica-count-manager-metrics";

pub(super) const STEP: Step = Step {
    name: "listing",
    about: "metrics through the Service: the server has listed all Deployments",
    run: |fixture| Box::pin(run(fixture)),
};

async fn run(fixture: &Fixture) -> Result<Outcome> {
    let port_forward = fixture.port_forward_to(NAME, METRICS, HTTP).await?;
    let (deployments, fallbacks) = eventually("the metrics show every Deployment", async || {
        let all = Api::<Deployment>::all(fixture.kubernetes.clone()).list(&ListParams::default()).await?;
        let (status, metrics) = http::get(port_forward.address, "/metrics").await?;
        ensure!(status == 200, "/metrics answers {status}");
        let seen = value(&metrics, "deployments")?;
        ensure!(seen == all.items.len().to_string() + ".0", "{seen} of {}", all.items.len());
        Ok((all.items.len(), value(&metrics, "watch_interruptions_total{reason=\"no_streamed_listing\"}")?))
    })
    .await?;
    let method =
        if fallbacks == "0" { "as a stream" } else { "in pages: this API server does not stream lists" };
    Ok(passed(format!("{deployments} Deployments, {method}")))
}

/// The value of one of the server's metrics.
fn value(metrics: &str, name: &str) -> Result<String> {
    let prefix = format!("replica_count_manager_{name} ");
    let value = metrics.lines().find_map(|line| line.strip_prefix(&prefix));
    Ok(value.with_context(|| format!("no metric {name}"))?.to_owned())
}
