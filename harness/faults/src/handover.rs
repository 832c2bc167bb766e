//! `faults handover`: how long it takes until another server repairs, when the one that holds the Lease ends, crashes, stands
//! still or is cut off; and whether anything that it sent before changes a count afterwards.
//!
//! Somebody changes the count just before, so that a write may be in flight, and again when it has happened.

mod relay;
mod writes;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Api, Patch, PatchParams};
use replica_count_api::proto::SetDeploymentRequest;
use replica_count_testbed::control_plane::Scope;
use replica_count_testbed::{ControlPlane, Manager, Options, manager};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use self::relay::Relay;
use self::writes::Late;
use crate::lease;
use crate::output::{say, say_error};

const NAMESPACE: &str = "handover";
const NAME: &str = "web";
const DESIRED: i32 = 3;
/// The limits of the median.
const GOAL_ENDED: Duration = Duration::from_millis(300);
const GOAL_CRASHED: Duration = Duration::from_secs(4);
/// How long anything may take before the command fails.
const PATIENCE: Duration = Duration::from_mins(1);
const POLL: Duration = Duration::from_millis(5);
/// The longest time from the change before to what happens to the holder.
const HEAD_START_MS: u64 = 12;

/// What happens to the server that holds the Lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Disturbance {
    Terminated,
    Killed,
    Paused,
    CutOff,
}

impl Disturbance {
    const ALL: [Self; 4] = [Self::Terminated, Self::Killed, Self::Paused, Self::CutOff];

    /// The limit of the median.
    fn goal(self) -> Duration {
        match self {
            Self::Terminated => GOAL_ENDED,
            Self::Killed | Self::Paused | Self::CutOff => GOAL_CRASHED,
        }
    }
}

impl fmt::Display for Disturbance {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Terminated => "SIGTERM",
            Self::Killed => "SIGKILL",
            Self::Paused => "SIGSTOP, and SIGCONT after the repair",
            Self::CutOff => "partition, whole again after the repair",
        })
    }
}

/// A server, and its connection to the API server.
struct Server {
    manager: Manager,
    relay: Relay,
    /// How many were started before it.
    number: usize,
}

/// A handover.
struct Round {
    disturbance: Disturbance,
    took: Duration,
    earlier: usize,
    later: usize,
    window: (String, String),
}

/// Two servers, of which one holds the Lease.
struct Pair {
    control_plane: ControlPlane,
    deployments: Api<Deployment>,
    holder: Server,
    follower: Server,
    started: usize,
}

/// Measures this many handovers of each kind, and prints them.
pub async fn run(rounds: usize) -> Result<()> {
    let folder = TempDir::new()?;
    let log = folder.path().join("audit.log");
    let mut pair = Pair::start(log.clone()).await?;
    let mut done = Vec::new();
    for disturbance in Disturbance::ALL {
        for round in 1..=rounds {
            done.push(
                pair.round(disturbance).await.with_context(|| format!("{disturbance}, round {round}"))?,
            );
            say_error(&format!("{disturbance}: {round} of {rounds}, {:?}", done[done.len() - 1].took));
        }
    }
    report(&done, &writes::read(&log)?)
}

/// Prints what the rounds show. An error if a late write changed a count.
fn report(rounds: &[Round], writes: &[writes::Write]) -> Result<()> {
    say(&format!(
        "Lease of {:?}; late: writes of an earlier term that were received after a later one wrote",
        lease::DURATION
    ));
    let mut harm = 0;
    for disturbance in Disturbance::ALL {
        let of_kind: Vec<_> = rounds.iter().filter(|round| round.disturbance == disturbance).collect();
        let mut took: Vec<_> = of_kind.iter().map(|round| round.took).collect();
        took.sort_unstable();
        let Some(slowest) = took.last() else { continue };
        let (median, goal) = (took[took.len() / 2], disturbance.goal());
        let mut late = Late::default();
        for round in &of_kind {
            let window = (&*round.window.0, &*round.window.1);
            let more = writes::late(writes, round.earlier, round.later, window);
            (late.received, late.changed) = (late.received + more.received, late.changed + more.changed);
        }
        harm += late.changed;
        let verdict = if median <= goal { "reached" } else { "missed" };
        say(&format!(
            "{disturbance}: {} times, to the repair by another: median {median:.1?} (goal {goal:?}: {verdict}), slowest \
             {slowest:.1?}; late {}, of which changed a count {}",
            took.len(),
            late.received,
            late.changed
        ));
    }
    ensure!(harm == 0, "{harm} late writes changed a count");
    Ok(())
}

impl Pair {
    async fn start(log: PathBuf) -> Result<Self> {
        let options = Options::beside_this_program()?.with_audit_log(log);
        let control_plane = ControlPlane::start(options).await?;
        control_plane.install_replica_counts().await?;
        control_plane.create_namespace(NAMESPACE).await?;
        control_plane.create_released_lease(NAMESPACE, lease::NAME).await?;
        control_plane.deployment(NAMESPACE, NAME, DESIRED).await?;
        let holder = Server::start(&control_plane, 0).await?;
        holder.wait_for("leader 1").await?;
        let request = SetDeploymentRequest {
            name: NAME.to_owned(),
            namespace: NAMESPACE.to_owned(),
            replicas: Some(DESIRED),
            ..SetDeploymentRequest::default()
        };
        holder.manager.client().await?.set_deployment(request).await?;
        let follower = Server::start(&control_plane, 1).await?;
        follower.wait_for("lease_held 1").await?;
        let deployments = Api::namespaced(control_plane.admin().await?, NAMESPACE);
        Ok(Self { control_plane, deployments, holder, follower, started: 2 })
    }

    async fn round(&mut self, disturbance: Disturbance) -> Result<Round> {
        // The follower sees some renewals.
        sleep(lease::DURATION / 3).await;
        self.wait_for_count().await?;
        let begins = now();
        self.scale(DESIRED + 2).await?;
        sleep(Duration::from_millis(fastrand::u64(..HEAD_START_MS))).await;
        let disturbed = Instant::now();
        match disturbance {
            Disturbance::Terminated => self.holder.manager.begin_termination()?,
            Disturbance::Killed => self.holder.kill()?,
            Disturbance::Paused => self.holder.manager.pause()?,
            Disturbance::CutOff => self.holder.relay.set_cut(true),
        }
        self.scale(DESIRED + 4).await?;
        self.follower.wait_for("leader 1").await?;
        self.wait_for_count().await?;
        let took = disturbed.elapsed();
        let (earlier, later) = (self.holder.number, self.follower.number);
        std::mem::swap(&mut self.holder, &mut self.follower);
        match disturbance {
            Disturbance::Terminated | Disturbance::Killed => {
                let next = Server::start(&self.control_plane, self.started).await?;
                self.started += 1;
                let ended = std::mem::replace(&mut self.follower, next);
                ended.manager.wait().await?;
            }
            Disturbance::Paused => self.follower.manager.resume()?,
            Disturbance::CutOff => self.follower.relay.set_cut(false),
        }
        self.follower.wait_for("leader 0").await?;
        self.follower.wait_for("lease_held 1").await?;
        self.follower.manager.wait_ready().await?;
        Ok(Round { disturbance, took, earlier, later, window: (begins, now()) })
    }

    async fn scale(&self, replicas: i32) -> Result<()> {
        let patch = Patch::Merge(json!({ "spec": { "replicas": replicas } }));
        let parameters = PatchParams { field_manager: Some("somebody".to_owned()), ..PatchParams::default() };
        self.deployments.patch_scale(NAME, &parameters, &patch).await?;
        Ok(())
    }

    async fn wait_for_count(&self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while self.deployments.get_scale(NAME).await?.spec.and_then(|spec| spec.replicas) != Some(DESIRED) {
            ensure!(Instant::now() < deadline, "the count was not repaired within {PATIENCE:?}");
            sleep(POLL).await;
        }
        Ok(())
    }
}

impl Server {
    async fn start(control_plane: &ControlPlane, number: usize) -> Result<Self> {
        let url = control_plane.url();
        let address: SocketAddr = url.trim_start_matches("https://").parse().context("the API server")?;
        let relay = Relay::start(address).await?;
        let kubeconfig = control_plane.manager_kubeconfig_at(&relay.url(), &Scope::Cluster).await?;
        let options = manager::Options::beside_this_program(&kubeconfig, &control_plane.folder("manager")?)?;
        let mut manager = Manager::start(&lease::used_by(options, NAMESPACE)).await?;
        manager.wait_ready().await?;
        Ok(Self { manager, relay, number })
    }

    /// Sends SIGKILL.
    fn kill(&self) -> Result<()> {
        let pid = i32::try_from(self.manager.pid()).ok().and_then(Pid::from_raw).context("it has no id")?;
        Ok(kill_process(pid, Signal::KILL)?)
    }

    /// Waits until its metrics have a line.
    async fn wait_for(&self, line: &str) -> Result<()> {
        let line = format!("replica_count_manager_{line}");
        let deadline = Instant::now() + PATIENCE;
        loop {
            let metrics = self.manager.metrics().await.unwrap_or_default();
            if metrics.lines().any(|shown| shown == line) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                bail!("{line} was not shown within {PATIENCE:?}");
            }
            sleep(POLL).await;
        }
    }
}

/// The time as in the audit log.
fn now() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}
