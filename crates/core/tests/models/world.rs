//! A cluster with one Deployment, in a few lines: it changes it, tests a write as the API server does, and tells.

use std::num::NonZeroU64;
use std::sync::Arc;

use replica_count_core::decide::{FIELD_MANAGER, Repair};
use replica_count_core::index::Index;
use replica_count_core::managed_fields::{FieldOwner, Operation, Writer};
use replica_count_core::observed::Observed;
use replica_count_core::replicas::Replicas;
use replica_count_core::target::Target;
use replica_count_core::uid::Uid;

/// The field manager of the adversary.
pub(crate) const ADVERSARY: &str = "adversary";

/// The cluster as it is.
#[derive(Debug, Default)]
pub(crate) struct World {
    deployment: Option<Observed>,
    versions: u64,
    /// Everything that ever happened, in order.
    pub(crate) events: Vec<Event>,
}

/// What a watch shows.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Changed(Observed),
    Deleted(Uid),
}

pub(crate) fn target() -> Target {
    Target::deployment("ns", "web").unwrap()
}

pub(crate) fn count(n: i32) -> Replicas {
    Replicas::new(n).unwrap()
}

impl World {
    pub(crate) fn deployment(&self) -> Option<&Observed> {
        self.deployment.as_ref()
    }

    /// Deletes it, if it is there, and creates it anew.
    pub(crate) fn create(&mut self, replicas: Replicas) {
        self.delete();
        let uid = Uid::from(format!("uid-{}", self.versions));
        self.store(uid, replicas, ADVERSARY);
    }

    pub(crate) fn delete(&mut self) {
        if let Some(gone) = self.deployment.take() {
            self.versions += 1;
            self.events.push(Event::Deleted(gone.uid));
        }
    }

    /// Changes its count, if it is there and has another one.
    pub(crate) fn change(&mut self, replicas: Replicas) {
        if let Some(found) = self.deployment.clone().filter(|found| found.replicas != replicas) {
            self.store(found.uid, replicas, ADVERSARY);
        }
    }

    /// Writes as the JSON Patch does, with its tests; the version that the write made, or nothing if it was stale.
    pub(crate) fn write(&mut self, repair: &Repair) -> Option<NonZeroU64> {
        let is_as_seen = |found: &&Observed| found.uid == repair.uid && found.replicas == repair.from;
        let uid = self.deployment.as_ref().filter(is_as_seen)?.uid.clone();
        self.store(uid, repair.to, FIELD_MANAGER);
        NonZeroU64::new(self.versions)
    }

    /// Lists everything, as a watch does that lost its place.
    pub(crate) fn list(&self, index: &mut Index) {
        index.begin_listing(target().kind());
        if let Some(deployment) = &self.deployment {
            index.insert(target(), deployment.clone());
        }
        index.end_listing(target().kind());
    }

    fn store(&mut self, uid: Uid, replicas: Replicas, manager: &str) {
        self.versions += 1;
        let writer = Writer { manager: manager.into(), operation: Operation::Update, subresource: None };
        let owner = FieldOwner { writer: Arc::new(writer), time: None };
        let stored = Observed {
            uid,
            resource_version: NonZeroU64::new(self.versions),
            replicas,
            ready: 0,
            deleting: false,
            owner: Some(owner),
        };
        self.events.push(Event::Changed(stored.clone()));
        self.deployment = Some(stored);
    }
}

/// Shows an event to an index.
pub(crate) fn show(index: &mut Index, event: &Event) {
    match event {
        Event::Changed(observed) => index.insert(target(), observed.clone()),
        Event::Deleted(uid) => index.remove(&target(), uid),
    }
}
