//! Requests that are kept under way: as soon as one is answered, the next one is sent.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use futures_util::future;
use replica_count_api::proto::{GetDeploymentRequest, ListDeploymentsRequest, SetDeploymentRequest};
use replica_count_testbed::manager::{self, Certificates, Client};
use tonic::Status;

use crate::fleet::Fleet;
use crate::latencies::Latencies;

/// The person whose certificate all connections show.
const USER: &str = "client";

/// What is asked for, of a Deployment of a fleet.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Call {
    Get,
    /// All that is managed.
    List,
    /// The count that it has, so that nothing follows from it.
    Set,
}

/// Connections to one server, all with the same number of requests under way.
#[derive(Debug)]
pub(crate) struct Load {
    clients: Vec<Client>,
    requests_each: usize,
}

/// What a load has shown.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) latencies: Latencies,
    /// From the first request to the last answer.
    pub(crate) took: Duration,
}

impl Load {
    /// Connects so many times.
    pub(crate) async fn connect(
        address: SocketAddr,
        certificates: &Certificates,
        connections: usize,
        requests_each: usize,
    ) -> Result<Self> {
        let connect = |_| manager::connect(address, certificates, USER);
        Ok(Self { clients: future::try_join_all((0..connections).map(connect)).await?, requests_each })
    }

    /// Keeps the requests under way for so long. The last ones are waited for.
    pub(crate) async fn run(&self, call: Call, fleet: &Fleet, duration: Duration) -> Result<Answered> {
        let started = Instant::now();
        let lanes = self.clients.iter().flat_map(|client| (0..self.requests_each).map(move |_| client));
        let lanes = lanes.enumerate().map(|(lane, client)| {
            tokio::spawn(follow(client.clone(), call, fleet.clone(), lane, started + duration))
        });
        let mut latencies = Latencies::default();
        for lane in future::try_join_all(lanes).await.context("a lane of the load panicked")? {
            latencies.extend(&lane.with_context(|| format!("{call:?} failed"))?);
        }
        Ok(Answered { latencies, took: started.elapsed() })
    }
}

/// Sends one request after the other until it is time, each about the next Deployment.
async fn follow(
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
        let asked = Instant::now();
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
        latencies.push(asked.elapsed());
        number += 1;
    }
    Ok(latencies)
}
