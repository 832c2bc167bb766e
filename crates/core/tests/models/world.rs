//! A model of a cluster with one Deployment: it changes it, tests writes like the API server, and records events.

use std::num::NonZeroU64;
use std::sync::Arc;

use replica_count_core::decide::{Method, Repair};
use replica_count_core::index::Index;
use replica_count_core::managed_fields::{FieldOwner, Operation, Writer};
use replica_count_core::observed::Observed;
use replica_count_core::own_writes::FIELD_MANAGER;
use replica_count_core::replicas::Replicas;
use replica_count_core::target::Target;
use replica_count_core::uid::Uid;

/// The field manager of the adversary.
pub(crate) const ADVERSARY: &str = "adversary";

/// The current state of the cluster.
#[derive(Debug, Default)]
pub(crate) struct World {
    deployment: Option<Observed>,
    versions: u64,
    /// Whether Kubernetes records no owner any more, as after a write of 0 through `scale`.
    is_unowned: bool,
    /// All events, in order.
    pub(crate) events: Vec<Event>,
}

/// An event of a watch.
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

    /// Deletes it, if it exists, and creates it anew.
    pub(crate) fn create(&mut self, replicas: Replicas) {
        self.delete();
        let uid = Uid::from(format!("uid-{}", self.versions));
        self.is_unowned = replicas == count(0);
        self.store(uid, replicas, ADVERSARY);
    }

    pub(crate) fn delete(&mut self) {
        if let Some(deleted) = self.deployment.take() {
            self.versions += 1;
            self.events.push(Event::Deleted(deleted.uid));
        }
    }

    /// Changes its count, if it exists and has another one.
    pub(crate) fn change(&mut self, replicas: Replicas) {
        self.change_by(ADVERSARY, replicas);
    }

    /// The same, by another field manager.
    pub(crate) fn change_by(&mut self, manager: &str, replicas: Replicas) {
        if let Some(found) = self.deployment.clone().filter(|found| found.replicas != replicas) {
            self.is_unowned |= replicas == count(0);
            self.store(found.uid, replicas, manager);
        }
    }

    /// Changes something else of it, if it exists.
    pub(crate) fn touch(&mut self) {
        if let Some(found) = &mut self.deployment {
            self.versions += 1;
            found.resource_version = NonZeroU64::new(self.versions);
            self.events.push(Event::Changed(found.clone()));
        }
    }

    /// Writes like the API server, with the tests of each method. An update that is stale ends as a patch. Returns the new version, or `None` if the write was stale.
    pub(crate) fn write(&mut self, repair: &Repair) -> Option<NonZeroU64> {
        let is_as_seen = |found: &&Observed| match repair.method {
            Method::Update { .. } | Method::Patch => found.uid == repair.uid && found.replicas == repair.from,
            Method::Guarded => found.uid == repair.uid,
            Method::Apply { version } => found.uid == repair.uid && found.resource_version == Some(version),
        };
        let uid = self.deployment.as_ref().filter(is_as_seen)?.uid.clone();
        match repair.method {
            Method::Update { .. } | Method::Patch => self.is_unowned |= repair.to == count(0),
            Method::Apply { .. } => self.is_unowned = false,
            Method::Guarded => {}
        }
        self.store(uid, repair.to, FIELD_MANAGER);
        NonZeroU64::new(self.versions)
    }

    /// Lists everything, like a watch that has lost its position.
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
        let owner = (!self.is_unowned).then(|| FieldOwner { writer: Arc::new(writer), time: None });
        let stored = Observed {
            uid,
            resource_version: NonZeroU64::new(self.versions),
            replicas,
            ready: 0,
            ready_before: 0,
            deleting: false,
            owner,
        };
        self.events.push(Event::Changed(stored.clone()));
        self.deployment = Some(stored);
    }
}

/// Delivers an event to an index.
pub(crate) fn deliver(index: &mut Index, event: &Event) {
    match event {
        Event::Changed(observed) => index.insert(target(), observed.clone()),
        Event::Deleted(uid) => index.remove(&target(), uid),
    }
}
