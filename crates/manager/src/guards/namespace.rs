//! What is known of the guard of one namespace.

use tokio::time::Instant;

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
}

impl Namespace {
    /// Whether it is known to be in force.
    pub(super) fn is_proven(&self) -> bool {
        matches!(self.proof, Proven::Active(_))
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
pub(super) struct Held {
    /// What it holds.
    pub(super) guard: Guard,
    /// The version of the object, if comparable.
    pub(super) version: Option<u64>,
}

/// Whether the guard of a namespace is known to be in force.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Proven {
    #[default]
    NotYet,
    Active(Instant),
    Inactive,
}

impl Held {
    pub(super) fn of(object: &ReplicaGuard) -> Self {
        Self { guard: object.guard(), version: object.version() }
    }
}
