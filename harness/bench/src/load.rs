//! A closed-loop load: as soon as a request is answered, the next one is sent.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use futures_util::future;
use replica_count_api::proto::{GetDeploymentRequest, ListDeploymentsRequest, SetDeploymentRequest};
use replica_count_testbed::manager::{self, Certificates, Client};
use tonic::Status;

use crate::fleet::Fleet;
use crate::latencies::Latencies;

/// The user of all connections.
const USER: &str = "client";

/// The kind of request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Call {
    Get,
    /// Lists all managed Deployments.
    List,
    /// Sets the current count, so no write to Kubernetes follows.
    Set,
}

/// Connections to one server, all with the same number of requests in flight.
#[derive(Debug)]
pub(crate) struct Load {
    clients: Vec<Client>,
    requests_each: usize,
}

/// The result of a load.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) latencies: Latencies,
    /// From the first request to the last answer.
    pub(crate) took: Duration,
}

impl Load {
    /// Opens the connections.
    pub(crate) async fn connect(
        address: SocketAddr,
        certificates: &Certificates,
        connections: usize,
        requests_each: usize,
    ) -> Result<Self> {
        let connect = |_| manager::connect(address, certificates, USER);
        Ok(Self { clients: future::try_join_all((0..connections).map(connect)).await?, requests_each })
    }

    /// Runs the load for this long, then waits for the last answers.
    pub(crate) async fn run(&self, call: Call, fleet: &Fleet, duration: Duration) -> Result<Answered> {
        let started = Instant::now();
        let workers = self.clients.iter().flat_map(|client| (0..self.requests_each).map(move |_| client));
        let workers = workers.enumerate().map(|(worker, client)| {
            tokio::spawn(send_requests(client.clone(), call, fleet.clone(), worker, started + duration))
        });
        let mut latencies = Latencies::default();
        for worker in future::try_join_all(workers).await.context("a worker of the load panicked")? {
            latencies.extend(&worker.with_context(|| format!("{call:?} failed"))?);
        }
        Ok(Answered { latencies, took: started.elapsed() })
    }
}

/// Sends requests sequentially until `until`, each for the next Deployment.
async fn send_requests(
    mut client: Client,
    call: Call,
    fleet: Fleet,
    first: usize,
    until: Instant,
) -> Result<Latencies, Status> {
    let mut latencies = Latencies::default();
    let mut number = first;
    while Instant::now() < until {
        let (name, namespace) = (fleet.name(number), fleet.namespace.to_owned());
        let sent = Instant::now();
        match call {
            Call::Get => drop(
                client
                    .get_deployment(GetDeploymentRequest {
                        name,
                        namespace,
                        ..GetDeploymentRequest::default()
                    })
                    .await?,
            ),
            Call::List => drop(client.list_deployments(ListDeploymentsRequest::default()).await?),
            Call::Set => {
                let replicas = Some(fleet.replicas);
                let request =
                    SetDeploymentRequest { name, namespace, replicas, ..SetDeploymentRequest::default() };
                drop(client.set_deployment(request).await?);
            }
        }
        latencies.push(sent.elapsed());
        number += 1;
    }
    Ok(latencies)
}
