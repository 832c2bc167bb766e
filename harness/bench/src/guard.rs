//! Measures the guard: what it costs others, and how soon it is in force.

mod in_force;
mod namespaces;
mod restart;
mod writes;

use std::fs;

use anyhow::{Result, ensure};
use kube::Client;
use kube::api::{Api, PostParams};
use replica_count_testbed::control_plane::Options;
use replica_count_testbed::{ControlPlane, Manager};
use serde_json::{Value, json};

use crate::fleet::Fleet;
use crate::results::Outcome;
use crate::{kubeconfig, policies, sample, server};

/// The guard of the two large namespaces.
const NAME: &str = "replica-count-manager";

/// The count of everything at the start.
const REPLICAS: i32 = 3;

/// A Deployment that is not managed, one in each namespace.
const OWN: &str = "own";

/// A namespace without a guard.
const FREE: &str = "free";

/// The amount of measurements.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The targets of two namespaces.
    sizes: [usize; 2],
    writes: writes::Plan,
    /// Sets in each namespace.
    sets: usize,
    /// Namespaces with one target each.
    namespaces: usize,
    /// Restarts of an API server.
    restarts: usize,
}

impl Plan {
    pub(crate) const FULL: Self = Self {
        sizes: [1_000, 5_000],
        writes: writes::Plan { blocks: 6, rounds: 250 },
        sets: 300,
        namespaces: 1_000,
        restarts: 5,
    };
    pub(crate) const SHORT: Self = Self {
        sizes: [10, 20],
        writes: writes::Plan { blocks: 1, rounds: 3 },
        sets: 3,
        namespaces: 3,
        restarts: 0,
    };

    fn fleets(&self) -> [Fleet; 2] {
        let [fewer, more] = self.sizes;
        [("fewer", fewer), ("more", more)].map(|(namespace, size)| Fleet {
            namespace,
            size,
            replicas: REPLICAS,
        })
    }
}

/// An API server with guarded namespaces and one without a guard, and an unrelated client.
struct Site {
    control_plane: ControlPlane,
    client: Client,
}

impl Site {
    async fn start(plan: &Plan) -> Result<Self> {
        let control_plane = ControlPlane::start(Options::beside_this_program()?).await?;
        let corrects = control_plane.install_guard(NAME).await?;
        ensure!(corrects, "this API server cannot correct counts, which needs Kubernetes 1.36");
        let client = kubeconfig::client(&control_plane.kubeconfig_as("somebody")?).await?;
        control_plane.create_namespace(FREE).await?;
        for fleet in plan.fleets() {
            fleet.create(&control_plane).await?;
        }
        for namespace in plan.fleets().map(|fleet| fleet.namespace).into_iter().chain([FREE]) {
            let deployment = sample::deployment(OWN, REPLICAS)?;
            Api::namespaced(client.clone(), namespace).create(&PostParams::default(), &deployment).await?;
        }
        Ok(Self { control_plane, client })
    }

    /// Starts the server, which guards both fleets, and waits until they are.
    async fn guard(&self, plan: &Plan) -> Result<Manager> {
        let options = server::guarding(&self.control_plane, "correct", NAME).await?;
        let settings = plan.fleets().map(|fleet| fleet.settings(0..fleet.size));
        let settings: Vec<&Value> = settings.iter().filter_map(Value::as_array).flatten().collect();
        fs::write(options.store(), serde_json::to_vec(&settings)?)?;
        let mut manager = Manager::start(&options).await?;
        manager.wait_ready().await?;
        server::wait_until_guarded(&manager, plan.sizes.iter().sum()).await?;
        Ok(manager)
    }

    /// Installs the policies, or removes them, and waits until that is in force.
    async fn switch(&self, plan: &Plan, is_on: bool) -> Result<()> {
        if is_on {
            self.control_plane.install_guard(NAME).await?;
        } else {
            policies::remove(&self.client, NAME, &policies::Policy::ALL).await?;
        }
        for fleet in plan.fleets() {
            // Its setting is never changed, as that of others is.
            let last = fleet.name(fleet.size - 1);
            let kept = is_on.then_some(REPLICAS.into());
            policies::wait_until_kept(&self.client, fleet.namespace, &last, kept).await?;
        }
        Ok(())
    }
}

/// Measures.
pub(crate) async fn measure(plan: &Plan) -> Result<Outcome> {
    let start = || Box::pin(Site::start(plan));
    let (first, second) = tokio::try_join!(start(), start())?;
    let sites = [first, second];
    // The guards stay, and so do the policies.
    sites[1].guard(plan).await?.kill()?;
    let manager = sites[0].guard(plan).await?;
    let (in_force_rows, in_force) = in_force::measure(plan, &sites, &manager).await?;
    // What others pay does not depend on it, and the other API server has none.
    manager.kill()?;
    let (mut rows, writes) = writes::measure(plan, &sites).await?;
    rows.extend(in_force_rows);
    let [site, _] = sites;
    let (namespaces_rows, namespaces) = namespaces::measure(plan, &site).await?;
    rows.extend(namespaces_rows);
    let (restart_rows, restarts) = restart::measure(plan, &site).await?;
    rows.extend(restart_rows);
    let kubernetes = site.control_plane.admin().await?.apiserver_version().await?.git_version;
    let details =
        json!({ "writes": writes, "in_force": in_force, "namespaces": namespaces, "restarts_s": restarts });
    Ok(Outcome { name: "guard", rows, kubernetes, details })
}
