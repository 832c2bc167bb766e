//! The last Deployment of a fleet, which a third party makes drift: a process that repairs it after its start has read
//! all the others before.

use std::time::Instant;

use anyhow::{Context as _, Result};
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Api, Patch, PatchParams};
use replica_count_testbed::ControlPlane;
use serde_json::json;

use crate::drift::observer::Observer;
use crate::fleet::Fleet;

/// The name of the third party.
const DRIFTER: &str = "drifter";

/// How much its count drifts.
const DRIFT: i32 = 4;

/// The last Deployment, and an independent watcher.
pub(crate) struct Last {
    fleet: Fleet,
    api: Api<Deployment>,
    observer: Observer,
}

impl Last {
    /// Starts watching it.
    pub(crate) async fn of(control_plane: &ControlPlane, fleet: &Fleet) -> Result<Self> {
        let observer = Observer::of_one(control_plane, fleet, fleet.size - 1).await?;
        let api = Api::namespaced(control_plane.client_as(DRIFTER).await?, fleet.namespace);
        Ok(Self { fleet: fleet.clone(), api, observer })
    }

    /// Makes it drift.
    pub(crate) async fn drift(&mut self) -> Result<()> {
        let (name, drifted) = (self.name(), self.fleet.replicas + DRIFT);
        let patch = Patch::Merge(json!({ "spec": { "replicas": drifted } }));
        let patched = self.api.patch_scale(&name, &PatchParams::apply(DRIFTER), &patch).await;
        patched.with_context(|| format!("cannot make {name} drift"))?;
        self.observer.expect(&self.fleet, &name, drifted).await?;
        Ok(())
    }

    /// Waits for its repair, which must be its next event; returns when it was observed.
    pub(crate) async fn repaired(&mut self) -> Result<Instant> {
        let name = self.name();
        self.observer.expect(&self.fleet, &name, self.fleet.replicas).await
    }

    fn name(&self) -> String {
        self.fleet.name(self.fleet.size - 1)
    }
}
