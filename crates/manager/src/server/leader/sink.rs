//! What a watch shows of the Lease. Only the newest counts: what was there before is no longer so.

use replica_count_core::lease::Observation;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{error, info};

use crate::kubernetes::MalformedObject;
use crate::kubernetes::lease::LeaseObject;
use crate::kubernetes::watch::Sink;

/// What a watch shows of the Lease.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    pub(super) observed: Observation,
    /// How often its holder has changed, for people.
    pub(super) transitions: i32,
}

/// Receives all Leases of the namespace, and passes on that of one name.
pub(super) struct LeaseSink {
    name: String,
    shown: watch::Sender<Option<Shown>>,
}

impl LeaseSink {
    pub(super) fn new(name: String, shown: watch::Sender<Option<Shown>>) -> Self {
        Self { name, shown }
    }

    fn show(
        &self,
        object: LeaseObject,
        observation: impl FnOnce(replica_count_core::lease::Lease) -> Observation,
    ) -> Result<(), MalformedObject> {
        if object.name() == self.name {
            let (lease, transitions) = object.into_lease()?;
            self.shown.send_replace(Some(Shown { observed: observation(lease), transitions }));
        }
        Ok(())
    }
}

impl Sink for LeaseSink {
    type Object = LeaseObject;

    fn watched(&self) -> &'static str {
        "leases"
    }

    fn begin_listing(&self) {}

    fn apply(&self, object: LeaseObject) -> Result<(), MalformedObject> {
        self.show(object, Observation::Present)
    }

    fn delete(&self, object: LeaseObject) -> Result<(), MalformedObject> {
        self.show(object, |lease| Observation::Deleted(lease.version))
    }

    /// A listing without the Lease says nothing: it may be older than what is known. Whoever holds it notices by its next
    /// renewal, and everybody else when they try to hold it.
    fn end_listing(&self, _version: &str) -> usize {
        usize::from(matches!(&*self.shown.borrow(), Some(Shown { observed: Observation::Present(_), .. })))
    }

    fn live(&self) {}

    /// The elector needs no watch: without, it notices changes later.
    fn stale(&self, _since: Instant) {}

    fn refused(&self, reason: &str, is_first: bool) {
        if is_first {
            error!(reason, "leases cannot be watched: another server takes over more slowly");
        }
    }

    fn recovered(&self) {
        info!("leases can be watched again");
    }
}
