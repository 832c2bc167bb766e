//! What is known of the guard of one namespace.

use replica_count_core::damping::Damping;
use tokio::time::Instant;

pub use crate::kubernetes::guard::Identity;
use crate::kubernetes::guard::{Guard, ReplicaGuard};

/// The guard of one namespace.
#[derive(Debug, Default)]
pub(super) struct Namespace {
    pub(super) held: Option<Held>,
    /// What this server wrote last.
    pub(super) written: Option<Guard>,
    /// What this server is writing, of which the watch may know before there is an answer.
    pub(super) writing: Writing,
    /// The newest version that the watch has shown, if comparable.
    pub(super) seen: Option<u64>,
    /// When the oldest change was made that the guard does not have yet.
    pub(super) changed_at: Option<Instant>,
    /// The same for changes since the last snapshot.
    pub(super) changed_since: Option<Instant>,
    /// Whether it has no room for all counts.
    pub(super) is_full: bool,
    /// How many writes failed in a row.
    pub(super) failures: u32,
    pub(super) proof: Proven,
    /// How many trials in a row have not shown that it is in force.
    pub(super) trials: u32,
    pub(super) listing: u64,
    /// How somebody else has changed it, if it is not put back yet.
    pub(super) drift: Option<Drift>,
    /// How repairs are delayed if somebody keeps changing it.
    pub(super) damping: Damping,
}

impl Namespace {
    /// Whether it is known to be in force.
    pub(super) fn is_proven(&self) -> bool {
        matches!(self.proof, Proven::Active(_))
    }

    /// Whether this server will soon write a change.
    pub(super) fn is_about_to_change(&self) -> bool {
        self.changed_at.is_some() && self.failures == 0 && self.damping.contested().is_none()
    }

    /// Another server keeps it, or did until now.
    pub(super) fn follow(&mut self) {
        (self.written, self.writing, self.drift) = (None, Writing::Nothing, None);
        (self.changed_at, self.changed_since, self.failures) = (None, None, 0);
        self.damping = Damping::default();
    }

    /// The API server does not hold it any more.
    pub(super) fn lose(&mut self) {
        self.held = None;
        self.proof = Proven::NotYet;
    }
}

/// What is being written of a guard.
#[derive(Debug, Default)]
pub(super) enum Writing {
    #[default]
    Nothing,
    Deletion,
    Guard(Guard),
}

/// What the API server holds.
#[derive(Clone, Debug)]
pub struct Held {
    /// What it holds.
    pub guard: Guard,
    /// The version of the object, if comparable.
    pub version: Option<u64>,
    /// Which object that is.
    pub identity: Identity,
}

/// How somebody else has changed a guard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Drift {
    /// Its content.
    Content {
        /// The field manager. `None`: not known.
        by: Option<String>,
    },
    /// It was deleted. Kubernetes does not say by whom.
    Deletion,
}

/// Whether the guard of a namespace is known to be in force.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Proven {
    #[default]
    NotYet,
    Active(Instant),
    /// It was, before the connection to the API server was lost.
    Doubted,
    Inactive,
}

impl Held {
    pub(super) fn of(object: &ReplicaGuard) -> Self {
        Self { guard: object.guard(), version: object.version(), identity: object.identity() }
    }
}
