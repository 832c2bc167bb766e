//! The RPCs: each request is parsed, authorized, and then answered from memory or stored.

use std::sync::Arc;

use replica_count_api::proto::deployments_service_server::DeploymentsService;
use replica_count_api::request::{
    self, EnforcementRequest, EventsRequest, ListRequest, SetRequest, WatchRequest,
};
use replica_count_api::{proto, response};
use replica_count_core::authorization::Access;
use replica_count_core::change::{Action, Change, Existing};
use tonic::{Request, Response, Status};

use super::authorize::Caller;
use super::context::Context;
use super::events::{self, events};
use super::get::get;
use super::in_flight::InFlight;
use super::list::list;
use super::set::{apply, generation, set};
use super::status::Refusal;
use super::watch::{self, Messages, watch};
use crate::clock;

/// The service behind `proto.DeploymentsService`.
pub struct Deployments(pub Arc<Context>);

impl Deployments {
    async fn authorize(&self, caller: &Caller, access: Access<'_>) -> Result<(), Refusal> {
        self.0.authorizer.authorize(&self.0.policy, caller, access).await
    }
}

#[tonic::async_trait]
impl DeploymentsService for Deployments {
    type WatchDeploymentsStream = Messages;

    async fn list_deployments(
        &self,
        request: Request<proto::ListDeploymentsRequest>,
    ) -> Result<Response<proto::DeploymentsReplicaConfigs>, Status> {
        let caller = Caller::of(&request);
        let in_flight = request.extensions().get::<InFlight>().cloned();
        let request = ListRequest::parse(request.into_inner()).map_err(Refusal::from)?;
        self.authorize(&caller, Access::List(request.namespace.as_deref())).await?;
        let _turn = self.0.lists.turn(caller.user()).await;
        Ok(Response::new(list(&self.0, &request, in_flight.as_ref())?))
    }

    async fn get_deployment(
        &self,
        request: Request<proto::GetDeploymentRequest>,
    ) -> Result<Response<proto::GetDeploymentResponse>, Status> {
        let caller = Caller::of(&request);
        let request = request.into_inner();
        let proto::GetDeploymentRequest { name, namespace, kind, other_kind } = request;
        let target = request::entry_target(kind, &other_kind, &namespace, &name).map_err(Refusal::from)?;
        self.authorize(&caller, Access::Get(&target)).await?;
        Ok(Response::new(get(&self.0, &target)?))
    }

    async fn set_deployment(
        &self,
        request: Request<proto::SetDeploymentRequest>,
    ) -> Result<Response<proto::SetDeploymentResponse>, Status> {
        let caller = Caller::of(&request);
        let (request, now) = (request.into_inner(), clock::now().wall);
        let request = SetRequest::parse(request, self.0.max_replicas, now).map_err(Refusal::from)?;
        Ok(Response::new(set(&self.0, &caller, &request).await?))
    }

    async fn delete_deployment(
        &self,
        request: Request<proto::DeleteDeploymentRequest>,
    ) -> Result<Response<proto::DeleteDeploymentResponse>, Status> {
        let caller = Caller::of(&request);
        let request = request.into_inner();
        let proto::DeleteDeploymentRequest { name, namespace, kind, other_kind, .. } = request;
        let target = request::entry_target(kind, &other_kind, &namespace, &name).map_err(Refusal::from)?;
        let expected_generation = request::generation(request.expected_generation).map_err(Refusal::from)?;
        self.authorize(&caller, Access::Delete(&target)).await?;
        let (by, at) = (caller.user().to_owned(), clock::now().wall);
        let change = Change { expected_generation, existing: Existing::Any, by, at, action: Action::Delete };
        let changed = apply(&self.0, &target, change).await.map_err(|refusal| match refusal {
            // The advice to set a count first would be wrong.
            Refusal::NotManaged(ref target) => {
                self.0.policy.scope.check_own(target).err().map_or(refusal, Refusal::from)
            }
            refusal => refusal,
        })?;
        Ok(Response::new(proto::DeleteDeploymentResponse {
            name,
            namespace,
            kind,
            other_kind,
            old_replicas: changed.before.map(|setting| setting.replicas.get()),
        }))
    }

    async fn set_enforcement(
        &self,
        request: Request<proto::SetEnforcementRequest>,
    ) -> Result<Response<proto::SetEnforcementResponse>, Status> {
        let (caller, at) = (Caller::of(&request), clock::now().wall);
        let request = request.into_inner();
        let EnforcementRequest { target, enforcement, expected_generation } =
            EnforcementRequest::parse(&request, at).map_err(Refusal::from)?;
        self.authorize(&caller, Access::SetEnforcement(&target)).await?;
        let by = caller.user().to_owned();
        let change = Change {
            expected_generation,
            existing: Existing::Any,
            by,
            at,
            action: Action::Enforce(enforcement),
        };
        let changed = apply(&self.0, &target.clone().into(), change).await?;
        let (mode, until) = response::enforcement(enforcement);
        Ok(Response::new(proto::SetEnforcementResponse {
            name: target.name().to_owned(),
            namespace: target.namespace().to_owned(),
            kind: request.kind,
            mode: mode.into(),
            until,
            generation: generation(&changed),
        }))
    }

    async fn list_events(
        &self,
        request: Request<proto::ListEventsRequest>,
    ) -> Result<Response<proto::ListEventsResponse>, Status> {
        let caller = Caller::of(&request);
        let in_flight = request.extensions().get::<InFlight>().cloned();
        let request = EventsRequest::parse(request.into_inner()).map_err(Refusal::from)?;
        self.authorize(&caller, events::access(&request)).await?;
        let _turn = self.0.lists.turn(caller.user()).await;
        Ok(Response::new(events(&self.0, &request, in_flight.as_ref())?))
    }

    async fn watch_deployments(
        &self,
        request: Request<proto::WatchDeploymentsRequest>,
    ) -> Result<Response<Messages>, Status> {
        let caller = Caller::of(&request);
        let in_flight = request.extensions().get::<InFlight>().cloned();
        let request = WatchRequest::parse(request.into_inner()).map_err(Refusal::from)?;
        self.authorize(&caller, watch::access(&request)).await?;
        Ok(Response::new(watch(&self.0, caller, request, in_flight)))
    }
}
