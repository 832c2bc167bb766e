//! Nemeses: disturbances that run beside the clients of a round. Each one checks what must hold during or after it.

mod admission;
mod autoscaler;
mod certificates;
mod fight;
mod mass_drift;
mod peer;
mod there_and_back;

use std::time::Duration;

use anyhow::Result;
use fastrand::Rng;
use replica_count_testbed::manager::Options;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time;

use crate::certificate_files::CertificateFiles;
use crate::cluster_changes::ClusterChanges;
use crate::history::Outcome;
use crate::load::Clients;
use crate::retry::{Verdict, retry};
use crate::schedule::CONVERGENCE_DEADLINE;
use crate::server::Access;
use crate::workload::Workload;

/// How long after the clients a nemesis starts.
const DELAY: Duration = Duration::from_millis(300);

/// A disturbance beside the clients of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Nemesis {
    /// The certificate files change: a second authority is trusted, the certificate truncated, the authority removed.
    Certificates,
    /// A client attacks the server.
    Peer(Attack),
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
    pub(crate) certificate_files: &'a CertificateFiles,
    pub(crate) changes: &'a ClusterChanges<'a>,
    pub(crate) clients: &'a Clients<'a>,
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
}

impl Nemesis {
    /// One nemesis of each kind.
    pub const ALL: [Self; 11] = [
        Self::Certificates,
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
            Self::Admission | Self::Fight { .. } | Self::ThereAndBack => true,
            Self::Certificates | Self::Peer(_) | Self::Autoscaler | Self::MassDrift => false,
        }
    }

    pub(crate) fn draw(random: &mut Rng) -> Option<Self> {
        match random.u8(..10) {
            0 | 1 => None,
            2 => Some(Self::Certificates),
            3 => Some(Self::Peer(Attack::ALL[random.usize(..Attack::ALL.len())])),
            4 => Some(Self::Autoscaler),
            5 | 6 => Some(Self::Fight { changes: random.usize(100..300) }),
            7 => Some(Self::MassDrift),
            8 => Some(Self::Admission),
            _ => Some(Self::ThereAndBack),
        }
    }

    /// Its name in tables.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Certificates => "certificate files change",
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
            Self::Certificates | Self::Admission | Self::Peer(_) | Self::MassDrift => Ok(Ok(())),
        }
    }
}

impl Attack {
    const ALL: [Self; 5] =
        [Self::RapidReset, Self::HalfOpen, Self::Oversized, Self::Continuation, Self::EmptyFrames];
}
