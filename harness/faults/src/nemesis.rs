//! Nemeses: disturbances that run beside the clients of a round. Each one checks what must hold during or after it.

mod admission;
mod autoscaler;
mod certificates;
mod credentials;
mod fight;
mod mass_drift;
mod peer;
mod policy;
mod soak;
mod there_and_back;
mod unknown_host;

use std::time::Duration;

use anyhow::{Result, ensure};
use fastrand::Rng;
use replica_count_api::proto::GetDeploymentRequest;
use replica_count_testbed::http;
use replica_count_testbed::manager::Options;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time;

use crate::api_access::ApiAccess;
use crate::certificate_files::CertificateFiles;
use crate::cluster_changes::ClusterChanges;
use crate::history::Outcome;
use crate::load::Clients;
use crate::retry::{Verdict, retry};
use crate::schedule::CONVERGENCE_DEADLINE;
use crate::server::Access;
use crate::shown;
use crate::trace::Trace;
use crate::workload::Workload;

/// How long after the clients a nemesis starts.
const DELAY: Duration = Duration::from_millis(300);

/// The pause between two Sets that are expected to fail.
const BETWEEN_SETS: Duration = Duration::from_secs(1);
/// How long a server stays blind: longer than an oracle allows it to hide a wrong count.
const BLIND: Duration = Duration::from_secs(12);
/// A count that is never set as desired.
const UNSEEN: i32 = 8_000;

/// A disturbance beside the clients of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Nemesis {
    /// The certificate files change: a second authority is trusted, the certificate truncated, the authority removed.
    Certificates,
    /// A client attacks the server.
    Peer(Attack),
    /// The server's token is revoked, and replaced after a while.
    Credentials,
    /// The same with a credential plugin that hangs in the meantime.
    Plugin,
    /// The host of the API server cannot be resolved for a while.
    UnknownHost,
    /// An admission policy changes the counts that the server writes, and goes.
    Policy,
    /// The last four and [`Admission`](Self::Admission), again and again, while the server's use of resources is
    /// measured.
    Soak {
        /// How long.
        seconds: u64,
    },
    /// An admission webhook denies the server's writes, and then is slow.
    Admission,
    /// An autoscaler targets one of the workloads, and is deleted after all faults have ended.
    Autoscaler,
    /// Somebody changes the count of a reserved workload 50 times a second.
    Fight {
        /// The number of changes.
        changes: usize,
    },
    /// Somebody changes all counts at once.
    MassDrift,
    /// Somebody repeatedly changes the count of a reserved workload and immediately changes it back.
    ThereAndBack,
}

/// An attack, repeated as often as possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attack {
    /// Sends requests and cancels them immediately.
    RapidReset,
    /// Opens connections and never finishes the handshake.
    HalfOpen,
    /// Sends messages that are too large.
    Oversized,
    /// Begins a request with endless headers.
    Continuation,
    /// Sends empty frames.
    EmptyFrames,
}

/// The parts of a round that a nemesis needs.
pub(crate) struct RoundContext<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) workloads: &'a [Workload],
    pub(crate) options: &'a Options,
    pub(crate) api_access: &'a ApiAccess<'a>,
    pub(crate) certificate_files: &'a CertificateFiles,
    pub(crate) changes: &'a ClusterChanges<'a>,
    pub(crate) clients: &'a Clients<'a>,
    pub(crate) trace: &'a Trace,
}

impl RoundContext<'_> {
    /// The workload reserved for the nemesis: no client sends requests for it.
    fn reserved_target(&self) -> &Workload {
        self.workloads.last().expect("there is always a workload")
    }

    /// Sets a new count for the reserved workload.
    async fn set_reserved(&self, server: &watch::Receiver<Access>) -> Verdict {
        retry("a Set of the reserved workload", CONVERGENCE_DEADLINE, async || {
            let client = server.borrow().client.clone();
            match self.clients.call(client, self.reserved_target(), self.clients.new_set(), true).await {
                Some(Outcome::Set { .. }) => Ok(()),
                outcome => Err(format!("{outcome:?}")),
            }
        })
        .await
    }

    /// Sets new counts for the reserved workload until a write fails for this reason. What makes them fail may not be in
    /// force yet. There are not enough counts to hurry.
    async fn set_reserved_until_failure(&self, server: &watch::Receiver<Access>, reason: &str) -> Verdict {
        let what = format!("Get shows a write that failed: {reason}");
        retry(&what, CONVERGENCE_DEADLINE, async || {
            self.set_reserved(server).await?;
            time::sleep(BETWEEN_SETS).await;
            let target = self.reserved_target();
            let mut client = server.borrow().client.clone();
            let request = GetDeploymentRequest {
                name: target.name.clone(),
                namespace: self.namespace.to_owned(),
                kind: target.proto_kind(),
                ..Default::default()
            };
            let answer = client.get_deployment(request).await.map_err(|status| status.to_string())?;
            match answer.into_inner().last_failure {
                Some(failure) if failure.reason == reason => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await
    }
}

/// Changes a count that the server cannot see. It must not show it as in sync.
async fn drift_while_blind(context: &RoundContext<'_>) -> Result<()> {
    context.changes.scale(context.reserved_target(), UNSEEN).await?;
    time::sleep(BLIND).await;
    Ok(())
}

/// Waits until the server can use the API server again.
async fn recovered(server: &watch::Receiver<Access>) -> Verdict {
    retry("the server recovers by itself", CONVERGENCE_DEADLINE, async || {
        let address = server.borrow().http;
        let (status, body) = http::get(address, "/healthz").await?;
        ensure!(status == 200, "/healthz: {status} {body}");
        Ok(())
    })
    .await
}

/// Expects the server to show that it does not see the cluster.
async fn expect_blind(context: &RoundContext<'_>, server: &watch::Receiver<Access>) -> Result<()> {
    let list = shown::list(server, context.namespace).await?;
    let hidden = list.deployments_replica_config.iter().find(|row| !shown::is_shown(&list, row));
    ensure!(hidden.is_none(), "{hidden:?}");
    Ok(())
}

impl Nemesis {
    /// One nemesis of each kind.
    pub const ALL: [Self; 15] = [
        Self::Certificates,
        Self::Credentials,
        Self::Plugin,
        Self::UnknownHost,
        Self::Policy,
        Self::Admission,
        Self::Peer(Attack::RapidReset),
        Self::Peer(Attack::HalfOpen),
        Self::Peer(Attack::Oversized),
        Self::Peer(Attack::Continuation),
        Self::Peer(Attack::EmptyFrames),
        Self::Autoscaler,
        Self::Fight { changes: 150 },
        Self::MassDrift,
        Self::ThereAndBack,
    ];

    /// Whether it needs a reserved workload.
    pub(crate) fn needs_reserved_target(self) -> bool {
        match self {
            Self::Credentials
            | Self::Plugin
            | Self::UnknownHost
            | Self::Policy
            | Self::Admission
            | Self::Soak { .. }
            | Self::Fight { .. }
            | Self::ThereAndBack => true,
            Self::Certificates | Self::Peer(_) | Self::Autoscaler | Self::MassDrift => false,
        }
    }

    pub(crate) fn draw(random: &mut Rng) -> Option<Self> {
        match random.u8(..14) {
            0 | 1 => None,
            2 => Some(Self::Certificates),
            3 => Some(Self::Peer(Attack::ALL[random.usize(..Attack::ALL.len())])),
            4 => Some(Self::Autoscaler),
            5 | 6 => Some(Self::Fight { changes: random.usize(100..300) }),
            7 => Some(Self::MassDrift),
            8 => Some(Self::Admission),
            9 => Some(Self::Credentials),
            10 => Some(Self::UnknownHost),
            11 => Some(Self::Policy),
            12 => Some(Self::Plugin),
            _ => Some(Self::ThereAndBack),
        }
    }

    /// Its name in tables.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Certificates => "certificate files change",
            Self::Credentials => "credentials",
            Self::Plugin => "hanging plugin",
            Self::UnknownHost => "unknown host",
            Self::Policy => "policy",
            Self::Soak { .. } => "soak",
            Self::Admission => "admission",
            Self::Peer(Attack::RapidReset) => "peer: rapid reset",
            Self::Peer(Attack::HalfOpen) => "peer: half-open connections",
            Self::Peer(Attack::Oversized) => "peer: oversized messages",
            Self::Peer(Attack::Continuation) => "peer: endless headers",
            Self::Peer(Attack::EmptyFrames) => "peer: empty frames",
            Self::Autoscaler => "autoscaler",
            Self::Fight { .. } => "fight",
            Self::MassDrift => "mass drift",
            Self::ThereAndBack => "there and back",
        }
    }

    /// Runs it, concurrently with clients and faults.
    pub(crate) async fn run(
        self,
        context: &RoundContext<'_>,
        server: &watch::Receiver<Access>,
    ) -> Result<Verdict> {
        time::sleep(DELAY).await;
        match self {
            Self::Certificates => certificates::change(context, server).await,
            Self::Credentials => credentials::revoke_and_renew(context, server).await,
            Self::Plugin => credentials::hang_and_renew(context, server).await,
            Self::UnknownHost => unknown_host::name_and_restore(context, server).await,
            Self::Policy => policy::change_counts(context, server).await,
            Self::Soak { seconds } => soak::run(Duration::from_secs(seconds), context, server).await,
            Self::Admission => admission::deny_and_delay(context, server).await,
            Self::Peer(attack) => peer::attack(attack, context, server).await,
            Self::Autoscaler => autoscaler::create(context).await,
            Self::Fight { changes } => fight::fight(changes, context, server).await,
            Self::MassDrift => mass_drift::drift(context).await,
            Self::ThereAndBack => there_and_back::change(context, server).await,
        }
    }

    /// Ends it after all faults have ended.
    pub(crate) async fn finish(
        self,
        context: &RoundContext<'_>,
        server: &watch::Receiver<Access>,
    ) -> Result<Verdict> {
        match self {
            Self::Autoscaler => autoscaler::delete(context, server).await,
            // A new setting is applied without waiting for the end of the conflict.
            Self::Fight { .. } | Self::ThereAndBack => Ok(context.set_reserved(server).await),
            Self::Certificates
            | Self::Credentials
            | Self::Plugin
            | Self::UnknownHost
            | Self::Policy
            | Self::Soak { .. }
            | Self::Admission
            | Self::Peer(_)
            | Self::MassDrift => Ok(Ok(())),
        }
    }
}

impl Attack {
    const ALL: [Self; 5] =
        [Self::RapidReset, Self::HalfOpen, Self::Oversized, Self::Continuation, Self::EmptyFrames];
}
