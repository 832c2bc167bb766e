//! The clients of a round, and what each was told.

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

use crate::history::{Asked, Operation, Stored, Told};
use crate::schedule::{Amount, CONVERGENCE};
use crate::server::Access;
use crate::trace::{Note, Trace};

/// After a failure, before the next question: a server that has died takes a moment to be back.
const AFTER_FAILURE: Duration = Duration::from_millis(50);

/// The clients, and all that was asked so far.
pub(crate) struct Clients<'a> {
    namespace: &'a str,
    trace: &'a Trace,
    histories: Mutex<BTreeMap<String, Vec<Operation>>>,
    /// Each count is asked for once, so that an answer, or a write, says which Set it comes from.
    next_count: AtomicI32,
}

impl<'a> Clients<'a> {
    pub(crate) fn new(namespace: &'a str, trace: &'a Trace) -> Self {
        Self { namespace, trace, histories: Mutex::default(), next_count: AtomicI32::new(2) }
    }

    /// What was asked of each target, and told.
    pub(crate) fn histories(&self) -> BTreeMap<String, Vec<Operation>> {
        self.inner().clone()
    }

    /// One client's questions.
    pub(crate) async fn run(
        &self,
        names: &[String],
        load: &Amount,
        mut random: Rng,
        server: watch::Receiver<Access>,
    ) {
        for _ in 0..load.questions {
            time::sleep(Duration::from_millis(random.u64(..=load.pause_ms))).await;
            let name = &names[random.usize(..names.len())];
            let asked = match random.u8(..10) {
                0..=5 => self.new_set(),
                6 => Asked::Delete,
                _ => Asked::Get,
            };
            let client = server.borrow().client.clone();
            if self.ask(client, name, asked, random.bool()).await == Some(Told::Unknown) {
                time::sleep(AFTER_FAILURE).await;
            }
        }
    }

    /// Sets what is not managed: of a target that is, it shows if it is stuck. (To set the others would help them.)
    pub(crate) async fn manage_all(&self, names: &[String], server: &watch::Receiver<Access>) {
        let deadline = Instant::now() + CONVERGENCE;
        for name in names {
            while Instant::now() < deadline {
                let client = server.borrow().client.clone();
                let told = match self.ask(client.clone(), name, Asked::Get, true).await {
                    Some(Told::Got { stored: None }) => self.ask(client, name, self.new_set(), true).await,
                    other => other,
                };
                if matches!(told, Some(Told::Set { .. } | Told::Got { stored: Some(_) })) {
                    break;
                }
                time::sleep(AFTER_FAILURE).await;
            }
        }
    }

    /// A Set of a count that was not asked for before.
    pub(crate) fn new_set(&self) -> Asked {
        Asked::Set { count: self.next_count.fetch_add(1, Ordering::SeqCst) }
    }

    /// Asks, and keeps the answer. `None`: refused, so that nothing changed. Who insists sets what is missing or autoscaled.
    pub(crate) async fn ask(&self, client: Client, name: &str, asked: Asked, insist: bool) -> Option<Told> {
        let begun = self.trace.now();
        let answer = self.send(client, name, asked, insist).await;
        let ended = self.trace.now();
        let told = match &answer {
            Ok(told) => Some(*told),
            Err(status) => told_by(asked, status),
        };
        let status = answer.err().map(|status| status.to_string());
        self.trace.note(Note::Client(serde_json::json!({
            "target": name, "asked": asked, "begun": begun, "told": told, "status": status,
        })));
        if let Some(told) = told {
            let operation = Operation { asked, begun, told, ended };
            self.inner().entry(name.to_owned()).or_default().push(operation);
        }
        told
    }

    async fn send(&self, mut client: Client, name: &str, asked: Asked, insist: bool) -> Result<Told, Status> {
        let (name, namespace) = (name.to_owned(), self.namespace.to_owned());
        match asked {
            Asked::Set { count } => {
                let request = proto::SetDeploymentRequest {
                    name,
                    namespace,
                    replicas: Some(count),
                    allow_missing: insist,
                    allow_autoscaled: insist,
                    ..proto::SetDeploymentRequest::default()
                };
                let answer = client.set_deployment(request).await?.into_inner();
                Ok(Told::Set { generation: answer.generation })
            }
            Asked::Get => {
                let request =
                    proto::GetDeploymentRequest { name, namespace, ..proto::GetDeploymentRequest::default() };
                let answer = client.get_deployment(request).await?.into_inner();
                let generation = answer.generation;
                let stored = answer.desired_replicas.map(|count| Stored { generation, count });
                Ok(Told::Got { stored })
            }
            Asked::Delete => {
                let request = proto::DeleteDeploymentRequest {
                    name,
                    namespace,
                    expected_generation: None,
                    ..proto::DeleteDeploymentRequest::default()
                };
                client.delete_deployment(request).await?;
                Ok(Told::Deleted)
            }
        }
    }

    fn inner(&self) -> MutexGuard<'_, BTreeMap<String, Vec<Operation>>> {
        self.histories.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a failure says about the setting. A reason of the server is its word; without one the answer was lost.
fn told_by(asked: Asked, status: &Status) -> Option<Told> {
    let reason = status.get_details_error_info().map(|info| info.reason);
    match (asked, reason.as_deref()) {
        (_, None | Some("STORE_OUTCOME_UNKNOWN")) => Some(Told::Unknown),
        (Asked::Delete, Some("DEPLOYMENT_NOT_MANAGED")) => Some(Told::NotManaged),
        (Asked::Get, Some("DEPLOYMENT_NOT_MANAGED" | "DEPLOYMENT_NOT_FOUND")) => {
            Some(Told::Got { stored: None })
        }
        (_, Some(_)) => None,
    }
}
