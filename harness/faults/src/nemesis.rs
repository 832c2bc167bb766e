//! What goes on beside the clients of a round. Each kind knows what must hold meanwhile, or after it.

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
use crate::history::Told;
use crate::load::Clients;
use crate::patience::{Verdict, until};
use crate::schedule::CONVERGENCE;
use crate::server::Access;

/// It begins when the clients have begun.
const DELAY: Duration = Duration::from_millis(300);

/// What goes on beside the clients of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Nemesis {
    /// The certificate files change: another authority, half a certificate, the first authority alone.
    Certificates,
    /// A client means harm.
    Peer(Attack),
    /// An autoscaler targets one of the Deployments, and goes when all faults have ended.
    Autoscaler,
    /// Somebody changes a count 50 times a second that no client changes meanwhile.
    Fight {
        /// How often.
        changes: usize,
    },
    /// Somebody changes all counts at once.
    MassDrift,
    /// Somebody changes a count that no client changes meanwhile, and changes it back at once, again and again.
    ThereAndBack,
}

/// What a client that means harm does, as often as it can.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attack {
    /// It asks, and takes it back at once.
    RapidReset,
    /// It opens connections and says nothing more.
    HalfOpen,
    /// It sends messages that are too large.
    Oversized,
    /// It begins a request with headers that never end.
    Continuation,
    /// It sends frames that carry nothing.
    EmptyFrames,
}

/// Where a nemesis works.
pub(crate) struct Place<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) names: &'a [String],
    pub(crate) options: &'a Options,
    pub(crate) certificate_files: &'a CertificateFiles,
    pub(crate) changes: &'a ClusterChanges<'a>,
    pub(crate) clients: &'a Clients<'a>,
}

impl Place<'_> {
    /// The Deployment that no client asks for meanwhile.
    fn apart(&self) -> &str {
        self.names.last().expect("there is always a Deployment")
    }

    /// Desires a count of it.
    async fn set_apart(&self, server: &watch::Receiver<Access>) -> Verdict {
        until("a Set of what is apart", CONVERGENCE, async || {
            let client = server.borrow().client.clone();
            match self.clients.ask(client, self.apart(), self.clients.new_set(), true).await {
                Some(Told::Set { .. }) => Ok(()),
                told => Err(format!("{told:?}")),
            }
        })
        .await
    }
}

impl Nemesis {
    /// One of each.
    pub const ALL: [Self; 10] = [
        Self::Certificates,
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

    /// Whether it needs a Deployment that no client asks for meanwhile.
    pub(crate) fn is_apart(self) -> bool {
        match self {
            Self::Fight { .. } | Self::ThereAndBack => true,
            Self::Certificates | Self::Peer(_) | Self::Autoscaler | Self::MassDrift => false,
        }
    }

    pub(crate) fn draw(random: &mut Rng) -> Option<Self> {
        match random.u8(..9) {
            0 | 1 => None,
            2 => Some(Self::Certificates),
            3 => Some(Self::Peer(Attack::ALL[random.usize(..Attack::ALL.len())])),
            4 => Some(Self::Autoscaler),
            5 | 6 => Some(Self::Fight { changes: random.usize(100..300) }),
            7 => Some(Self::MassDrift),
            _ => Some(Self::ThereAndBack),
        }
    }

    /// The words for it in tables.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Certificates => "certificate files change",
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

    /// Makes it, while clients ask and requests meet faults.
    pub(crate) async fn make(self, place: &Place<'_>, server: &watch::Receiver<Access>) -> Result<Verdict> {
        time::sleep(DELAY).await;
        match self {
            Self::Certificates => certificates::change(place, server).await,
            Self::Peer(attack) => peer::attack(attack, place, server).await,
            Self::Autoscaler => autoscaler::appear(place).await,
            Self::Fight { changes } => fight::fight(changes, place, server).await,
            Self::MassDrift => mass_drift::drift(place).await,
            Self::ThereAndBack => there_and_back::change(place, server).await,
        }
    }

    /// Ends it, after all faults.
    pub(crate) async fn end(self, place: &Place<'_>, server: &watch::Receiver<Access>) -> Result<Verdict> {
        match self {
            Self::Autoscaler => autoscaler::go(place, server).await,
            // A new setting does not wait until what was fought over is forgotten.
            Self::Fight { .. } | Self::ThereAndBack => Ok(place.set_apart(server).await),
            Self::Certificates | Self::Peer(_) | Self::MassDrift => Ok(Ok(())),
        }
    }
}

impl Attack {
    const ALL: [Self; 5] =
        [Self::RapidReset, Self::HalfOpen, Self::Oversized, Self::Continuation, Self::EmptyFrames];
}
