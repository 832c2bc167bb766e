//! The API of the server, called over mutual TLS as clients do.

use anyhow::{Context as _, Result, bail, ensure};
use replica_count_api::proto;
use replica_count_testbed::manager::Client;
use tonic::{Code, Status};

use crate::access::PortForward;
use crate::certificates::Credentials;
use crate::eventually::eventually;
use crate::stage::{APPS, Stage};

/// The port of gRPC at the Service.
pub(crate) const GRPC: u16 = 8080;

/// The port of probes and metrics at the Service.
pub(crate) const HTTP: u16 = 8081;

/// A client on a connection of its own. What it names is in the namespace of the applications.
#[derive(Debug)]
pub(crate) struct Session {
    client: Client,
    _port_forward: PortForward,
}

/// What is stored for a Deployment, as far as Get tells.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Setting {
    pub(crate) name: String,
    pub(crate) desired: Option<i32>,
    pub(crate) generation: i64,
    pub(crate) set_by: String,
    /// Seconds and nanoseconds.
    pub(crate) set_at: Option<(i64, i32)>,
}

impl Stage {
    /// Connects as the first client, with the certificate that the cluster has now. A pod is ready a moment before its
    /// Service leads to it.
    pub(crate) async fn session(&self) -> Result<Session> {
        let credentials = Credentials::of_client(&self.kubernetes).await?;
        eventually("the server answers", async || self.session_as(&credentials).await).await
    }

    /// Connects at once as whoever has these credentials, and makes a call: whom TLS refuses learns it then.
    pub(crate) async fn session_as(&self, credentials: &Credentials) -> Result<Session> {
        let port_forward = self.port_forward(GRPC).await?;
        let channel = credentials.endpoint(port_forward.address)?.connect().await?;
        let mut session = Session { client: Client::new(channel), _port_forward: port_forward };
        session.client.list_deployments(proto::ListDeploymentsRequest::default()).await?;
        Ok(session)
    }
}

impl Session {
    /// Is it refused, because there is no such Deployment?
    pub(crate) async fn set_in_vain(&mut self, name: &str) -> Result<()> {
        match self.set(name, 1).await.map_err(anyhow::Error::downcast::<Status>) {
            Err(Ok(status)) if status.code() == Code::NotFound => Ok(()),
            Err(Ok(status)) => Err(status.into()),
            Err(Err(error)) => Err(error),
            Ok(answer) => bail!("there is no {name}, and Set answers {answer:?}"),
        }
    }

    pub(crate) async fn set(&mut self, name: &str, replicas: i32) -> Result<proto::SetDeploymentResponse> {
        let request = proto::SetDeploymentRequest {
            name: name.to_owned(),
            namespace: APPS.to_owned(),
            replicas: Some(replicas),
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
            ..proto::GetDeploymentRequest::default()
        };
        Ok(self.client.get_deployment(request).await?.into_inner())
    }

    pub(crate) async fn forget(&mut self, name: &str) -> Result<()> {
        let request = proto::DeleteDeploymentRequest {
            name: name.to_owned(),
            namespace: APPS.to_owned(),
            expected_generation: None,
            ..proto::DeleteDeploymentRequest::default()
        };
        self.client.delete_deployment(request).await?;
        Ok(())
    }

    /// Awaits an answer of Get.
    pub(crate) async fn until(
        &mut self,
        name: &str,
        what: &str,
        is_right: impl Fn(&proto::GetDeploymentResponse) -> bool,
    ) -> Result<proto::GetDeploymentResponse> {
        eventually(&format!("Get shows of {name}: {what}"), async || {
            let answer = self.get(name).await?;
            if is_right(&answer) { Ok(answer) } else { bail!("it answers {answer:?}") }
        })
        .await
    }

    /// Awaits that the cluster has the desired count.
    pub(crate) async fn until_in_sync(&mut self, name: &str) -> Result<proto::GetDeploymentResponse> {
        self.until(name, "IN_SYNC", |answer| answer.state() == proto::DeploymentState::InSync).await
    }

    /// Awaits that Get names this field manager for a drift to `replicas`, and returns it in words.
    pub(crate) async fn culprit(&mut self, name: &str, by: &str, replicas: i32) -> Result<String> {
        let is_right = |answer: &proto::GetDeploymentResponse| {
            answer.last_drift.as_ref().is_some_and(|drift| drift.by == by && drift.to == Some(replicas))
        };
        let answer = self.until(name, &format!("a drift to {replicas} by {by}"), is_right).await?;
        let drift = answer.last_drift.context("there is a drift")?;
        let through =
            if drift.subresource.is_empty() { String::new() } else { format!(" of {}", drift.subresource) };
        Ok(format!("{} ({}{through})", drift.by, drift.operation))
    }

    /// All that is stored, in the order of names.
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
