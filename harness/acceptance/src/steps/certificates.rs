//! Rotates certificates as the chart's README describes: a new pair for the server keeps the clients, a new CA revokes
//! them. The pod stays, and uses the files as soon as the kubelet has them.

use anyhow::{Result, bail, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::DeleteParams;
use tokio::time::Instant;

use super::{Step, passed};
use crate::certificates::Credentials;
use crate::eventually::eventually;
use crate::fixture::{Fixture, NAME};
use crate::table::Outcome;

pub(super) const STEP: Step = Step {
    name: "certificates",
    about: "helm upgrade with another DNS name, then with a new CA",
    run: |fixture| Box::pin(run(fixture)),
};

async fn run(fixture: &Fixture) -> Result<Outcome> {
    let (client, server) = (Credentials::of_client(&fixture.kubernetes).await?, server(fixture).await?);
    let pod = fixture.pod().await?;

    let renamed = ["--set", "tls.dnsNames={replicas.example.com}"];
    fixture.install(&fixture.image, &renamed).await?;
    let renewed = self::server(fixture).await?;
    ensure!(renewed.certificate != server.certificate, "the server's certificate is the old one");
    ensure!(Credentials::of_client(&fixture.kubernetes).await? == client, "the client's certificate changed");
    eventually("the client is still served", async || fixture.session_as(&client).await).await?;

    let started = Instant::now();
    let secrets = Api::<Secret>::namespaced(fixture.kubernetes.clone(), NAME);
    secrets.delete(&format!("{NAME}-ca"), &DeleteParams::default()).await?;
    fixture.install(&fixture.image, &renamed).await?;
    let current = Credentials::of_client(&fixture.kubernetes).await?;
    ensure!(current.authority != client.authority, "the CA is the old one");
    eventually("a client of the new CA is served", async || fixture.session_as(&current).await).await?;
    let took = started.elapsed().as_secs_f64();
    // This client trusts the new CA, so it can only be refused because of its own certificate.
    let outdated = Credentials { authority: current.authority.clone(), ..client.clone() };
    for refused in [client, outdated] {
        if fixture.session_as(&refused).await.is_ok() {
            bail!("a client of the old CA is still served");
        }
    }
    ensure!(fixture.pod().await?.metadata.uid == pod.metadata.uid, "the pod was replaced");
    Ok(passed(format!(
        "a new pair keeps the clients; a new CA is served {took:.1} s later and refuses the old client"
    )))
}

async fn server(fixture: &Fixture) -> Result<Credentials> {
    Credentials::read(&fixture.kubernetes, "server-tls").await
}
