//! A workload of a round.

use std::fmt;

use anyhow::Result;
use replica_count_api::proto;
use replica_count_core::kind::Kind;
use replica_count_testbed::ControlPlane;

/// A workload in the namespace of a round. It is shown as in the paths of the API, for example `deployments/web-0`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Workload {
    pub(crate) kind: Kind,
    pub(crate) name: String,
}

impl Workload {
    /// Its kind, as in requests.
    pub(crate) fn proto_kind(&self) -> i32 {
        proto::Kind::from(self.kind).into()
    }

    pub(crate) async fn create(
        &self,
        control_plane: &ControlPlane,
        namespace: &str,
        replicas: i32,
    ) -> Result<()> {
        match self.kind {
            Kind::Deployment => control_plane.deployment(namespace, &self.name, replicas).await,
            Kind::StatefulSet => control_plane.stateful_set(namespace, &self.name, replicas).await,
        }
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind.resource(), self.name)
    }
}
