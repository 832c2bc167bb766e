//! One who takes part in `drift`: a process with a namespace to itself.
//!
//! The API server sends events of a namespace only to those who watch it, so a player that has no turn has nothing to do.

use anyhow::{Context as _, Result};
use kube::Client;
use replica_count_testbed::control_plane::Scope;
use replica_count_testbed::{ControlPlane, Manager};

use super::bare_loop::BareLoop;
use super::rounds::Rounds;
use super::{DESIRED, Plan};
use crate::contestant::Contestant;
use crate::fleet::Fleet;
use crate::peer::Peer;

/// What runs.
enum Process {
    BareLoop(BareLoop),
    Manager(Manager),
}

/// One who takes part.
pub(super) struct Player {
    process: Process,
    pub(super) rounds: Rounds,
}

impl Player {
    /// The limit.
    pub(super) async fn limit(control_plane: &ControlPlane, plan: &Plan, drifter: &Client) -> Result<Self> {
        let fleet = create_fleet(control_plane, plan, "of-limit").await?;
        let scope = Scope::Namespace(fleet.namespace.to_owned());
        // The first drift that it repairs shows that it watches.
        let bare_loop = BareLoop::start(&control_plane.manager_kubeconfig(&scope).await?, &fleet)?;
        Ok(Self { process: Process::BareLoop(bare_loop), rounds: Rounds::new(fleet, plan.managed, drifter) })
    }

    /// A contestant that has read its namespace.
    pub(super) async fn contestant(
        contestant: &Contestant,
        control_plane: &ControlPlane,
        plan: &Plan,
        drifter: &Client,
    ) -> Result<Self> {
        let fleet = create_fleet(control_plane, plan, namespace(contestant)).await?;
        let scope = Scope::Namespace(fleet.namespace.to_owned());
        let options = contestant.options(control_plane, &scope, &fleet, plan.managed).await?;
        let mut manager = Manager::start(&options).await.context(contestant.name())?;
        manager.wait_ready().await.context(contestant.name())?;
        Ok(Self { process: Process::Manager(manager), rounds: Rounds::new(fleet, plan.managed, drifter) })
    }

    /// Fails if the process has ended.
    pub(super) fn check_alive(&mut self) -> Result<()> {
        match &mut self.process {
            Process::BareLoop(bare_loop) => bare_loop.check_alive(),
            Process::Manager(manager) => manager.check_alive(),
        }
    }

    /// Its Deployments that nobody minds.
    pub(super) fn unmanaged(&self, plan: &Plan) -> Fleet {
        Fleet { size: plan.unmanaged, ..self.rounds.fleet().clone() }
    }
}

/// Those that nobody minds come first.
async fn create_fleet(control_plane: &ControlPlane, plan: &Plan, namespace: &'static str) -> Result<Fleet> {
    let fleet = Fleet { namespace, size: plan.unmanaged + plan.managed, replicas: DESIRED };
    fleet.create(control_plane).await?;
    Ok(fleet)
}

fn namespace(contestant: &Contestant) -> &'static str {
    match contestant {
        Contestant::Ours => "of-ours",
        Contestant::Baseline(_) => "of-baseline",
        Contestant::Peer(Peer::Go) => "of-go",
        Contestant::Peer(Peer::TunedGo) => "of-tuned-go",
    }
}
