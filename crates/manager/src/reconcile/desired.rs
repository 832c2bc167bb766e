//! The desired side: changes of settings update the records and mark the target.

use std::sync::Arc;

use replica_count_core::change::Changed;
use replica_count_core::event::Event;

use super::records::Records;
use super::report::Report;
use crate::guards::Guards;
use crate::store::Subscriber;
use crate::work::Work;

/// Subscribes to the store.
pub struct DesiredSubscriber {
    /// The records of managed targets.
    pub records: Arc<Records>,
    /// The queue.
    pub work: Arc<Work>,
    /// The guards, which get the change before the workload does.
    pub guards: Arc<Guards>,
    /// Where events are reported.
    pub report: Report,
}

impl Subscriber for DesiredSubscriber {
    /// Reports the change before it marks the target, so that what the change causes is reported after it.
    fn changed(&self, changed: &Changed) {
        self.records.apply(changed);
        if let Some(event) = Event::of_change(changed) {
            self.report.emit(event);
        }
        if let Some(target) = changed.target.known() {
            self.guards.mark(target.namespace());
            self.work.mark(target.clone());
        }
    }
}
