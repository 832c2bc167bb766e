//! The clients of a round, which record the outcomes of their requests.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use replica_count_api::proto;
use replica_count_testbed::manager::Client;
use tokio::sync::watch;
use tokio::time::{self, Instant};
use tonic::Status;
use tonic_types::StatusExt as _;

use crate::history::{Operation, Outcome, Request, Stored};
use crate::schedule::{Amount, CONVERGENCE_DEADLINE};
use crate::server::Access;
use crate::trace::{Note, Trace};
use crate::workload::Workload;

/// The pause after a failure, for a killed server to restart.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// The clients and their requests so far.
pub(crate) struct Clients<'a> {
    namespace: &'a str,
    trace: &'a Trace,
    histories: Mutex<BTreeMap<String, Vec<Operation>>>,
    /// Each count is set only once, so an answer or a write identifies its Set.
    next_count: AtomicI32,
}

impl<'a> Clients<'a> {
    pub(crate) fn new(namespace: &'a str, trace: &'a Trace) -> Self {
        Self { namespace, trace, histories: Mutex::default(), next_count: AtomicI32::new(2) }
    }

    /// The operations by target.
    pub(crate) fn histories(&self) -> BTreeMap<String, Vec<Operation>> {
        self.inner().clone()
    }

    /// Sends the requests of one client.
    pub(crate) async fn run(
        &self,
        workloads: &[Workload],
        load: &Amount,
        mut random: Rng,
        server: watch::Receiver<Access>,
    ) {
        for _ in 0..load.requests {
            time::sleep(Duration::from_millis(random.u64(..=load.pause_ms))).await;
            let workload = &workloads[random.usize(..workloads.len())];
            let request = match random.u8(..10) {
                0..=5 => self.new_set(),
                6 => Request::Delete,
                _ => Request::Get,
            };
            let client = server.borrow().client.clone();
            if self.call(client, workload, request, random.bool()).await == Some(Outcome::Unknown) {
                time::sleep(RETRY_PAUSE).await;
            }
        }
    }

    /// Sets every target that is not managed. Managed ones are left alone: a Set would hide it if they are stuck.
    pub(crate) async fn manage_all(&self, workloads: &[Workload], server: &watch::Receiver<Access>) {
        let deadline = Instant::now() + CONVERGENCE_DEADLINE;
        for workload in workloads {
            while Instant::now() < deadline {
                let client = server.borrow().client.clone();
                let outcome = match self.call(client.clone(), workload, Request::Get, true).await {
                    Some(Outcome::Got { stored: None }) => {
                        self.call(client, workload, self.new_set(), true).await
                    }
                    other => other,
                };
                if matches!(outcome, Some(Outcome::Set { .. } | Outcome::Got { stored: Some(_) })) {
                    break;
                }
                time::sleep(RETRY_PAUSE).await;
            }
        }
    }

    /// A Set with a new count.
    pub(crate) fn new_set(&self) -> Request {
        Request::Set { count: self.next_count.fetch_add(1, Ordering::SeqCst) }
    }

    /// Sends a request and records the outcome; `None` if it was definitely refused. With `force`, also sets missing or
    /// autoscaled targets.
    pub(crate) async fn call(
        &self,
        client: Client,
        workload: &Workload,
        request: Request,
        force: bool,
    ) -> Option<Outcome> {
        let begun = self.trace.now();
        let answer = self.send(client, workload, request, force).await;
        let ended = self.trace.now();
        let outcome = match &answer {
            Ok(outcome) => Some(*outcome),
            Err(status) => outcome_of_error(request, status),
        };
        let status = answer.err().map(|status| status.to_string());
        self.trace.note(Note::Client(serde_json::json!({
            "target": workload.to_string(), "asked": request, "begun": begun, "told": outcome, "status": status,
        })));
        if let Some(outcome) = outcome {
            let operation = Operation { request, begun, outcome, ended };
            self.inner().entry(workload.to_string()).or_default().push(operation);
        }
        outcome
    }

    async fn send(
        &self,
        mut client: Client,
        workload: &Workload,
        request: Request,
        force: bool,
    ) -> Result<Outcome, Status> {
        let (name, namespace) = (workload.name.clone(), self.namespace.to_owned());
        let kind = workload.proto_kind();
        match request {
            Request::Set { count } => {
                let request = proto::SetDeploymentRequest {
                    name,
                    namespace,
                    kind,
                    replicas: Some(count),
                    allow_missing: force,
                    allow_autoscaled: force,
                    ..proto::SetDeploymentRequest::default()
                };
                let answer = client.set_deployment(request).await?.into_inner();
                Ok(Outcome::Set { generation: answer.generation })
            }
            Request::Get => {
                let request = proto::GetDeploymentRequest { name, namespace, kind, ..Default::default() };
                let answer = client.get_deployment(request).await?.into_inner();
                let generation = answer.generation;
                let stored = answer.desired_replicas.map(|count| Stored { generation, count });
                Ok(Outcome::Got { stored })
            }
            Request::Delete => {
                let request = proto::DeleteDeploymentRequest {
                    name,
                    namespace,
                    kind,
                    ..proto::DeleteDeploymentRequest::default()
                };
                client.delete_deployment(request).await?;
                Ok(Outcome::Deleted)
            }
        }
    }

    fn inner(&self) -> MutexGuard<'_, BTreeMap<String, Vec<Operation>>> {
        self.histories.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an error reveals about the setting. Errors of the server have a reason; without one, the answer was lost.
fn outcome_of_error(request: Request, status: &Status) -> Option<Outcome> {
    let reason = status.get_details_error_info().map(|info| info.reason);
    match (request, reason.as_deref()) {
        (_, None | Some("STORE_OUTCOME_UNKNOWN")) => Some(Outcome::Unknown),
        (Request::Delete, Some("DEPLOYMENT_NOT_MANAGED")) => Some(Outcome::NotManaged),
        (Request::Get, Some("DEPLOYMENT_NOT_MANAGED" | "DEPLOYMENT_NOT_FOUND")) => {
            Some(Outcome::Got { stored: None })
        }
        (_, Some(_)) => None,
    }
}
