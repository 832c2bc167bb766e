//! Calls the server's API over mutual TLS, like any client.

use anyhow::{Context as _, Result, bail, ensure};
use replica_count_api::proto;
use replica_count_client::Deployments;
use tonic::{Code, Status};

use crate::access::PortForward;
use crate::certificates::Credentials;
use crate::eventually::eventually;
use crate::fixture::{APPS, Fixture};

/// The Service's gRPC port.
pub(crate) const GRPC: u16 = 8080;

/// The port for probes and metrics, of a Service of its own.
pub(crate) const HTTP: u16 = 8081;

/// A client with its own connection. All names are in the namespace of the applications, and of Deployments unless
/// [`Self::of_kind`] says otherwise.
#[derive(Debug)]
pub(crate) struct Session {
    client: Deployments,
    kind: proto::Kind,
    _port_forward: PortForward,
}

/// The stored setting of a Deployment, as returned by Get.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Setting {
    pub(crate) name: String,
    pub(crate) desired: Option<i32>,
    pub(crate) generation: i64,
    pub(crate) set_by: String,
    /// Seconds and nanoseconds.
    pub(crate) set_at: Option<(i64, i32)>,
}

impl Fixture {
    /// Connects with the client certificate that is currently in the cluster. Retries, because a pod is ready slightly
    /// before its Service routes to it.
    pub(crate) async fn session(&self) -> Result<Session> {
        let credentials = Credentials::of_client(&self.kubernetes).await?;
        eventually("the server answers", async || self.session_as(&credentials).await).await
    }

    /// Connects with these credentials, without retries. Makes a call, because a client learns only then that TLS
    /// refuses it.
    pub(crate) async fn session_as(&self, credentials: &Credentials) -> Result<Session> {
        let port_forward = self.port_forward(GRPC).await?;
        let connection = credentials.endpoint(port_forward.address)?.connect().await?;
        let mut session = Session {
            client: connection.deployments(),
            kind: proto::Kind::Deployment,
            _port_forward: port_forward,
        };
        session.client.list_deployments(proto::ListDeploymentsRequest::default()).await?;
        Ok(session)
    }
}

impl Session {
    /// The same client for workloads of another kind.
    pub(crate) fn of_kind(self, kind: proto::Kind) -> Self {
        Self { kind, ..self }
    }

    /// Sets a count, and expects a refusal because there is no such Deployment.
    pub(crate) async fn set_expecting_not_found(&mut self, name: &str) -> Result<()> {
        match self.set(name, 1).await.map_err(anyhow::Error::downcast::<Status>) {
            Err(Ok(status)) if status.code() == Code::NotFound => Ok(()),
            Err(Ok(status)) => Err(status.into()),
            Err(Err(error)) => Err(error),
            Ok(answer) => bail!("there is no {name}, but Set answered {answer:?}"),
        }
    }

    pub(crate) async fn set(&mut self, name: &str, replicas: i32) -> Result<proto::SetDeploymentResponse> {
        let request = proto::SetDeploymentRequest {
            name: name.to_owned(),
            namespace: APPS.to_owned(),
            replicas: Some(replicas),
            kind: self.kind.into(),
            ..proto::SetDeploymentRequest::default()
        };
        let answer = self.client.set_deployment(request).await?.into_inner();
        ensure!(answer.new_replicas == Some(replicas), "SetDeployment answered {answer:?}");
        Ok(answer)
    }

    pub(crate) async fn get(&mut self, name: &str) -> Result<proto::GetDeploymentResponse> {
        let request = proto::GetDeploymentRequest {
            name: name.to_owned(),
            namespace: APPS.to_owned(),
            kind: self.kind.into(),
            ..proto::GetDeploymentRequest::default()
        };
        Ok(self.client.get_deployment(request).await?.into_inner())
    }

    pub(crate) async fn delete_setting(&mut self, name: &str) -> Result<()> {
        let request = proto::DeleteDeploymentRequest {
            name: name.to_owned(),
            namespace: APPS.to_owned(),
            kind: self.kind.into(),
            ..proto::DeleteDeploymentRequest::default()
        };
        self.client.delete_deployment(request).await?;
        Ok(())
    }

    /// Polls Get until the answer satisfies `is_right`, and returns it.
    pub(crate) async fn wait_for(
        &mut self,
        name: &str,
        what: &str,
        is_right: impl Fn(&proto::GetDeploymentResponse) -> bool,
    ) -> Result<proto::GetDeploymentResponse> {
        eventually(&format!("Get of {name} returns {what}"), async || {
            let answer = self.get(name).await?;
            if is_right(&answer) { Ok(answer) } else { bail!("it answers {answer:?}") }
        })
        .await
    }

    /// Waits until the cluster has the desired count.
    pub(crate) async fn wait_until_in_sync(&mut self, name: &str) -> Result<proto::GetDeploymentResponse> {
        self.wait_for(name, "IN_SYNC", |answer| answer.state() == proto::DeploymentState::InSync).await
    }

    /// Waits until Get reports a drift to `replicas` by this field manager, and returns a description of the author.
    pub(crate) async fn wait_for_drift_by(&mut self, name: &str, by: &str, replicas: i32) -> Result<String> {
        let is_right = |answer: &proto::GetDeploymentResponse| {
            answer.last_drift.as_ref().is_some_and(|drift| drift.by == by && drift.to == Some(replicas))
        };
        let answer = self.wait_for(name, &format!("a drift to {replicas} by {by}"), is_right).await?;
        let drift = answer.last_drift.context("there is a drift")?;
        let through =
            if drift.subresource.is_empty() { String::new() } else { format!(" of {}", drift.subresource) };
        Ok(format!("{} ({}{through})", drift.by, drift.operation))
    }

    /// The stored settings of all Deployments, sorted by name.
    pub(crate) async fn settings(&mut self) -> Result<Vec<Setting>> {
        let request = proto::ListDeploymentsRequest::default();
        let rows = self.client.list_deployments(request).await?.into_inner().deployments_replica_config;
        let mut settings = Vec::new();
        for row in rows {
            let answer = self.get(&row.name).await?;
            settings.push(Setting {
                name: row.name,
                desired: answer.desired_replicas,
                generation: answer.generation,
                set_by: answer.set_by,
                set_at: answer.set_at.map(|at| (at.seconds, at.nanos)),
            });
        }
        Ok(settings)
    }
}
