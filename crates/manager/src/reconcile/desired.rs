//! The desired side: what the store's feed brings goes to the records, and marks the target.

use std::sync::Arc;

use replica_count_core::change::Changed;
use replica_count_core::event::Event;

use super::records::Records;
use super::report::Report;
use super::work::Work;
use crate::store::Follower;

/// Follows the store.
pub struct DesiredFollower {
    /// Those of all managed targets.
    pub records: Arc<Records>,
    /// Where targets are marked.
    pub work: Arc<Work>,
    /// Who is told.
    pub report: Report,
}

impl Follower for DesiredFollower {
    fn changed(&self, changed: &Changed) {
        self.records.follow(changed);
        self.work.mark(changed.target.clone());
    }

    fn answered(&self, changed: &Changed) {
        if let Some(event) = Event::of_change(changed) {
            self.report.tell(&event);
        }
    }
}
