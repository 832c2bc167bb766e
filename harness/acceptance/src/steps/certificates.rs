//! Certificates are rotated as the README of the chart says: a new pair for the server keeps the clients, a new CA ends
//! them, and the pod follows either.

use anyhow::{Result, bail, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::DeleteParams;
use tokio::time::Instant;

use super::{Step, passed};
use crate::certificates::Credentials;
use crate::eventually::eventually;
use crate::stage::{NAME, Stage};
use crate::table::Outcome;

pub(super) const STEP: Step = Step {
    name: "certificates",
    about: "helm upgrade with a further name, then with a new CA",
    run: |stage| Box::pin(run(stage)),
};

async fn run(stage: &Stage) -> Result<Outcome> {
    let (client, server) = (Credentials::of_client(&stage.kubernetes).await?, server(stage).await?);
    let mut pod = stage.pod().await?;

    let renamed = ["--set", "tls.dnsNames={replicas.example.com}"];
    stage.install(&stage.image, &renamed).await?;
    pod = stage.pod_after(&pod).await?;
    let renewed = self::server(stage).await?;
    ensure!(renewed.certificate != server.certificate, "the server's certificate is the old one");
    ensure!(Credentials::of_client(&stage.kubernetes).await? == client, "the client's certificate changed");
    eventually("the client is still served", async || stage.session_as(&client).await).await?;

    let started = Instant::now();
    let secrets = Api::<Secret>::namespaced(stage.kubernetes.clone(), NAME);
    secrets.delete(&format!("{NAME}-ca"), &DeleteParams::default()).await?;
    stage.install(&stage.image, &renamed).await?;
    stage.pod_after(&pod).await?;
    let current = Credentials::of_client(&stage.kubernetes).await?;
    ensure!(current.authority != client.authority, "the CA is the old one");
    eventually("a client of the new CA is served", async || stage.session_as(&current).await).await?;
    let took = started.elapsed().as_secs_f64();
    // It trusts the new CA, and is refused for its own certificate alone.
    let outdated = Credentials { authority: current.authority.clone(), ..client.clone() };
    for refused in [client, outdated] {
        if stage.session_as(&refused).await.is_ok() {
            bail!("a client of the old CA is still served");
        }
    }
    Ok(passed(format!(
        "a new pair keeps the clients; a new CA is served {took:.1} s later and refuses the old client"
    )))
}

async fn server(stage: &Stage) -> Result<Credentials> {
    Credentials::read(&stage.kubernetes, "server-tls").await
}
