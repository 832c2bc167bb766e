//! The desired side: changes of settings update the records and mark the target.

use std::sync::Arc;

use replica_count_core::change::Changed;
use replica_count_core::event::Event;

use super::records::Records;
use super::report::Report;
use super::work::Work;
use crate::store::Subscriber;

/// Subscribes to the store.
pub struct DesiredSubscriber {
    /// The records of managed targets.
    pub records: Arc<Records>,
    /// The queue.
    pub work: Arc<Work>,
    /// Where events are reported.
    pub report: Report,
}

impl Subscriber for DesiredSubscriber {
    fn changed(&self, changed: &Changed) {
        self.records.apply(changed);
        self.work.mark(changed.target.clone());
    }

    fn answered(&self, changed: &Changed) {
        if let Some(event) = Event::of_change(changed) {
            self.report.emit(&event);
        }
    }
}
