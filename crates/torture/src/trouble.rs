//! What goes on beside the clients of a round. Each kind knows what must hold meanwhile, or after it.

mod autoscaler;
mod certificates;
mod fight;
mod mass_drift;
mod peer;

use std::time::Duration;

use anyhow::Result;
use fastrand::Rng;
use replica_count_testbed::manager::Options;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time;

use crate::certificate_files::CertificateFiles;
use crate::cluster_changes::ClusterChanges;
use crate::load::Clients;
use crate::patience::Verdict;
use crate::server::Reach;

/// It begins when the clients have begun.
const DELAY: Duration = Duration::from_millis(300);

/// What goes on beside the clients of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trouble {
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
}

/// Where trouble is made.
pub(crate) struct Place<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) names: &'a [String],
    pub(crate) options: &'a Options,
    pub(crate) certificate_files: &'a CertificateFiles,
    pub(crate) changes: &'a ClusterChanges<'a>,
    pub(crate) clients: &'a Clients<'a>,
}

impl Trouble {
    /// One of each.
    pub const ALL: [Self; 7] = [
        Self::Certificates,
        Self::Peer(Attack::RapidReset),
        Self::Peer(Attack::HalfOpen),
        Self::Peer(Attack::Oversized),
        Self::Autoscaler,
        Self::Fight { changes: 150 },
        Self::MassDrift,
    ];

    pub(crate) fn draw(random: &mut Rng) -> Option<Self> {
        match random.u8(..8) {
            0 | 1 => None,
            2 => Some(Self::Certificates),
            3 => Some(Self::Peer(Attack::ALL[random.usize(..Attack::ALL.len())])),
            4 => Some(Self::Autoscaler),
            5 | 6 => Some(Self::Fight { changes: random.usize(100..300) }),
            _ => Some(Self::MassDrift),
        }
    }

    /// The words for it in tables.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Certificates => "certificate files change",
            Self::Peer(Attack::RapidReset) => "peer: rapid reset",
            Self::Peer(Attack::HalfOpen) => "peer: half-open connections",
            Self::Peer(Attack::Oversized) => "peer: oversized messages",
            Self::Autoscaler => "autoscaler",
            Self::Fight { .. } => "fight",
            Self::MassDrift => "mass drift",
        }
    }

    /// Makes it, while clients ask and requests meet faults.
    pub(crate) async fn make(self, place: &Place<'_>, server: &watch::Receiver<Reach>) -> Result<Verdict> {
        time::sleep(DELAY).await;
        match self {
            Self::Certificates => certificates::change(place, server).await,
            Self::Peer(attack) => peer::attack(attack, place, server).await,
            Self::Autoscaler => autoscaler::appear(place).await,
            Self::Fight { changes } => fight::fight(changes, place, server).await,
            Self::MassDrift => mass_drift::drift(place).await,
        }
    }

    /// Ends it, after all faults.
    pub(crate) async fn end(self, place: &Place<'_>, server: &watch::Receiver<Reach>) -> Result<Verdict> {
        match self {
            Self::Autoscaler => autoscaler::go(place, server).await,
            Self::Fight { .. } => Ok(fight::set(place, server).await),
            Self::Certificates | Self::Peer(_) | Self::MassDrift => Ok(Ok(())),
        }
    }
}

impl Attack {
    const ALL: [Self; 3] = [Self::RapidReset, Self::HalfOpen, Self::Oversized];
}
