//! The RPCs: who may, what is asked, what is stored, what is answered. Reads come from memory.

use std::sync::Arc;

use kube::Client;
use replica_count_api::proto::deployments_service_server::DeploymentsService;
use replica_count_api::request::{self, EnforcementRequest, ListRequest, SetRequest};
use replica_count_api::{proto, response};
use replica_count_core::change::{Action, Change};
use replica_count_core::decide::Policy;
use replica_count_core::observed::Observation;
use replica_count_core::replicas::Replicas;
use replica_count_core::scope::OutOfScope;
use replica_count_core::state::State;
use replica_count_core::target::Target;
use tokio::sync::Mutex;
use tonic::{Request, Response, Status};
use tracing::{info, warn};

use super::in_flight::InFlight;
use super::status::Refusal;
use crate::cluster::{Cluster, Freshness, Watched};
use crate::kubernetes::reads;
use crate::net::tls::Peer;
use crate::reconcile::clock;
use crate::reconcile::records::Records;
use crate::store::{Applied, Store};

/// Who a change is by when no client certificate says so. Only tests without TLS see it.
const NOBODY: &str = "";

/// The service behind `proto.DeploymentsService`.
pub struct Deployments {
    /// What is desired.
    pub store: Store,
    /// What is observed.
    pub cluster: Arc<Cluster>,
    /// What happened.
    pub records: Arc<Records>,
    /// What the whole server was told.
    pub policy: Arc<Policy>,
    /// The largest count that is accepted.
    pub max_replicas: Replicas,
    /// The API server, for what the watch may not have shown yet.
    pub client: Client,
    /// Whose turn it is to make a list. It takes long, and many at once would keep other requests waiting.
    pub lists: Mutex<()>,
}

#[tonic::async_trait]
impl DeploymentsService for Deployments {
    async fn list_deployments(
        &self,
        request: Request<proto::ListDeploymentsRequest>,
    ) -> Result<Response<proto::DeploymentsReplicaConfigs>, Status> {
        let in_flight = request.extensions().get::<InFlight>().cloned();
        let request = ListRequest::parse(request.into_inner()).map_err(Refusal::from)?;
        let _turn = self.lists.lock().await;
        Ok(Response::new(self.list(&request, in_flight.as_ref())?))
    }

    async fn get_deployment(
        &self,
        request: Request<proto::GetDeploymentRequest>,
    ) -> Result<Response<proto::GetDeploymentResponse>, Status> {
        let request = request.into_inner();
        let target = request::target(&request.namespace, &request.name).map_err(Refusal::from)?;
        Ok(Response::new(self.get(&target)?))
    }

    async fn set_deployment(
        &self,
        request: Request<proto::SetDeploymentRequest>,
    ) -> Result<Response<proto::SetDeploymentResponse>, Status> {
        let by = user(&request);
        let request = SetRequest::parse(request.into_inner(), self.max_replicas).map_err(Refusal::from)?;
        Ok(Response::new(self.set(request, by).await?))
    }

    async fn delete_deployment(
        &self,
        request: Request<proto::DeleteDeploymentRequest>,
    ) -> Result<Response<proto::DeleteDeploymentResponse>, Status> {
        let by = user(&request);
        let request = request.into_inner();
        let target = request::target(&request.namespace, &request.name).map_err(Refusal::from)?;
        let expected_generation = request::generation(request.expected_generation).map_err(Refusal::from)?;
        let applied = self.change(&target, Change { expected_generation, action: Action::Delete }).await?;
        info!(%target, by, "deleted");
        Ok(Response::new(proto::DeleteDeploymentResponse {
            name: target.name().to_owned(),
            namespace: target.namespace().to_owned(),
            old_replicas: applied.before.map(|setting| setting.replicas.get()),
        }))
    }

    async fn set_enforcement(
        &self,
        request: Request<proto::SetEnforcementRequest>,
    ) -> Result<Response<proto::SetEnforcementResponse>, Status> {
        let by = user(&request);
        let request =
            EnforcementRequest::parse(&request.into_inner(), clock::now().wall).map_err(Refusal::from)?;
        let EnforcementRequest { target, enforcement, expected_generation } = request;
        self.policy.scope.check(target.namespace()).map_err(Refusal::from)?;
        let change = Change { expected_generation, action: Action::Enforce(enforcement) };
        let generation = generation(&self.change(&target, change).await?);
        info!(%target, by, ?enforcement, generation, "enforcement set");
        let (mode, until) = response::enforcement(enforcement);
        Ok(Response::new(proto::SetEnforcementResponse {
            name: target.name().to_owned(),
            namespace: target.namespace().to_owned(),
            mode: mode.into(),
            until,
            generation,
        }))
    }
}

impl Deployments {
    fn get(&self, target: &Target) -> Result<proto::GetDeploymentResponse, Refusal> {
        let now = clock::now();
        let setting = self.store.get(target);
        let history = self.records.get(target).unwrap_or_default();
        let view = self.cluster.view();
        let observation = view.observation(target);
        if setting.is_none() {
            self.check_exists(target, observation)?;
        }
        let observed = match observation {
            Observation::Present(observed) => Some(observed),
            Observation::Unread | Observation::Absent => None,
        };
        let opposition = history.opposition();
        let state = State::of(target, setting.as_deref(), observation, opposition, &self.policy, now.wall);
        let mut answer = proto::GetDeploymentResponse {
            name: target.name().to_owned(),
            namespace: target.namespace().to_owned(),
            current_replicas: observed.map(|observed| observed.replicas.get()),
            ready_replicas: observed.map(|observed| observed.ready),
            state: proto::DeploymentState::from(state).into(),
            last_drift: history.last.as_ref().map(Into::into),
            drift_count: response::generation(history.drifts),
            contest: response::contest(&history, now),
            autoscaler: view.autoscaler(target).map(ToString::to_string).unwrap_or_default(),
            observed_age: view.age(now.monotonic.into()).map(response::duration),
            ..proto::GetDeploymentResponse::default()
        };
        if let Some(setting) = setting {
            let (mode, until) = response::enforcement(self.policy.enforcement(&setting, now.wall));
            answer.desired_replicas = Some(setting.replicas.get());
            answer.generation = response::generation(setting.generation);
            answer.set_by = setting.set_by.clone().unwrap_or_default();
            answer.set_at = setting.set_at.map(response::timestamp);
            answer.reason = setting.reason.clone().unwrap_or_default();
            answer.enforcement = mode.into();
            answer.enforcement_until = until;
        }
        Ok(answer)
    }

    /// Whether something that is not managed is there to be shown.
    fn check_exists(&self, target: &Target, observation: Observation<'_>) -> Result<(), Refusal> {
        match observation {
            Observation::Present(_) => Ok(()),
            Observation::Unread => Err(Refusal::Unread),
            Observation::Absent => {
                self.check_watched(target.namespace())?;
                Err(Refusal::NoDeployment(target.clone()))
            }
        }
    }

    /// Whether the watch would show what is in a namespace. Excluded ones are seen, and only not managed.
    pub(super) fn check_watched(&self, namespace: &str) -> Result<(), Refusal> {
        match self.policy.scope.check(namespace) {
            Err(other @ OutOfScope::Other { .. }) => Err(other.into()),
            Err(OutOfScope::Excluded(_)) | Ok(()) => Ok(()),
        }
    }

    async fn set(&self, request: SetRequest, by: String) -> Result<proto::SetDeploymentResponse, Refusal> {
        let SetRequest { target, replicas, expected_generation, is_dry_run, reason, .. } = request;
        let SetRequest { allow_missing, allow_autoscaled, .. } = request;
        self.policy.scope.check(target.namespace())?;
        let old_replicas = self.current_replicas(&target, allow_missing).await?;
        if !allow_autoscaled {
            self.check_not_autoscaled(&target, allow_missing)?;
        }
        let action = Action::Set { replicas, by: by.clone(), at: clock::now().wall, reason };
        let change = Change { expected_generation, action };
        let applied = if is_dry_run {
            self.store.check(&target, &change).map_err(|error| Refusal::of_change(&target, error))?
        } else {
            self.change(&target, change).await?
        };
        let generation = generation(&applied);
        if !is_dry_run {
            info!(%target, by, %replicas, old_replicas, generation, "set");
        }
        Ok(proto::SetDeploymentResponse {
            name: target.name().to_owned(),
            namespace: target.namespace().to_owned(),
            old_replicas,
            new_replicas: Some(replicas.get()),
            generation,
        })
    }

    /// Whether no autoscaler would fight with a setting. Who may not be in the cluster at all, or is managed already, need
    /// not wait until the autoscalers were read. Where the right to see them is missing, none is known of.
    fn check_not_autoscaled(&self, target: &Target, allow_missing: bool) -> Result<(), Refusal> {
        let is_managed = self.store.get(target).is_some();
        let view = self.cluster.view();
        match view.autoscaler(target) {
            Some(autoscaler) => {
                Err(Refusal::Autoscaled { target: target.clone(), autoscaler: Arc::clone(autoscaler) })
            }
            None if is_managed || allow_missing => Ok(()),
            None if view.freshness(Watched::Autoscalers) == Freshness::Unread => Err(Refusal::Unread),
            None => Ok(()),
        }
    }

    /// The count in the cluster, asked from the API server if the watch has not shown the Deployment.
    async fn current_replicas(&self, target: &Target, allow_missing: bool) -> Result<Option<i32>, Refusal> {
        let freshness = {
            let view = self.cluster.view();
            if let Observation::Present(observed) = view.observation(target) {
                return Ok(Some(observed.replicas.get()));
            }
            view.freshness(Watched::Deployments)
        };
        match reads::get(&self.client, target).await {
            Ok(Some(observed)) => Ok(Some(observed.replicas.get())),
            Ok(None) | Err(_) if allow_missing => Ok(None),
            Ok(None) => Err(Refusal::NoDeployment(target.clone())),
            // What is managed was found to exist, or allowed not to, when it was first set.
            Err(_) if self.store.get(target).is_some() => Ok(None),
            Err(error) => {
                warn!(%target, %error, "could not ask whether it exists");
                Err(if freshness.is_read() { Refusal::Unreachable(target.clone()) } else { Refusal::Unread })
            }
        }
    }

    async fn change(&self, target: &Target, change: Change) -> Result<Applied, Refusal> {
        self.store.apply(target.clone(), change).await.map_err(|error| Refusal::of_store(target, error))
    }
}

/// The generation after a change; 0 when the setting is gone.
fn generation(applied: &Applied) -> i64 {
    applied.after.as_ref().map_or(0, |setting| response::generation(setting.generation))
}

/// The user that the client certificate names.
fn user<T>(request: &Request<T>) -> String {
    let peer = request.extensions().get::<Peer>();
    peer.map_or(NOBODY, |peer| &*peer.identity.user).to_owned()
}
