//! What is remembered of our own writes to one workload, to distinguish them from those of another server that writes
//! under the same field manager.
//!
//! A count under our field manager is ours unless everything speaks against it: we have not tried to write it, and our
//! last write is known to be in effect as it was sent. An admission policy may change what we write, and a write
//! without an answer may land later.

use crate::observed::Observed;
use crate::replicas::Replicas;

/// The field manager under which this server writes.
pub const FIELD_MANAGER: &str = "replica-count-manager";
/// How many different counts are remembered.
const MAX_COUNTS: usize = 8;

/// The writes of this process to one workload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnWrites {
    /// Counts that we have tried to write, without repetition, the latest one last.
    counts: Vec<Replicas>,
    /// Whether neither an answer nor the watch has shown yet that the last one is in effect.
    is_unconfirmed: bool,
}

impl OwnWrites {
    /// Records that a write was sent.
    pub fn record_sent(&mut self, count: Replicas) {
        self.counts.retain(|earlier| *earlier != count);
        if self.counts.len() == MAX_COUNTS {
            self.counts.remove(0);
        }
        self.counts.push(count);
        self.is_unconfirmed = true;
    }

    /// Records that the write that was sent last is known to have stored its count.
    pub fn record_confirmed(&mut self) {
        self.is_unconfirmed = false;
    }

    /// Records an observation, which may show that the last write is in effect.
    pub fn record_observed(&mut self, observed: &Observed) {
        if is_ours(observed) && self.counts.last() == Some(&observed.replicas) {
            self.record_confirmed();
        }
    }

    /// Whether the count was written under our field manager, but by another server.
    pub fn rule_out(&self, observed: &Observed) -> bool {
        is_ours(observed) && !self.is_unconfirmed && !self.counts.contains(&observed.replicas)
    }
}

/// Whether our field manager owns the count.
pub fn is_ours(observed: &Observed) -> bool {
    observed.owner.as_ref().is_some_and(|owner| owner.manager() == FIELD_MANAGER)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::managed_fields::{FieldOwner, Operation, Writer};

    fn count(n: i32) -> Replicas {
        Replicas::new(n).expect("valid")
    }

    fn observed(replicas: i32, manager: Option<&str>) -> Observed {
        let owner = manager.map(|manager| {
            let writer = Writer {
                manager: manager.into(),
                operation: Operation::Update,
                subresource: Some("scale".into()),
            };
            FieldOwner { writer: Arc::new(writer), time: None }
        });
        let (uid, replicas) = ("u".into(), count(replicas));
        Observed { uid, resource_version: None, replicas, ready: 0, ready_before: 0, deleting: false, owner }
    }

    #[test]
    fn only_a_count_that_nothing_explains_is_ruled_out() {
        let ours = Some(FIELD_MANAGER);
        let mut writes = OwnWrites::default();
        assert!(writes.rule_out(&observed(7, ours)), "we have written nothing");
        assert!(!writes.rule_out(&observed(7, Some("kubectl"))));
        assert!(!writes.rule_out(&observed(7, None)));

        writes.record_sent(count(3));
        assert!(!writes.rule_out(&observed(7, ours)), "a policy may have made it 7");
        writes.record_observed(&observed(3, None));
        writes.record_observed(&observed(3, Some("kubectl")));
        writes.record_observed(&observed(7, ours));
        assert!(!writes.rule_out(&observed(7, ours)), "still not seen as written");
        writes.record_observed(&observed(3, ours));
        assert!(writes.rule_out(&observed(7, ours)));

        writes.record_sent(count(4));
        assert!(!writes.rule_out(&observed(7, ours)), "not known to be as sent");
        writes.record_confirmed();
        assert!(writes.rule_out(&observed(7, ours)));
        assert!(!writes.rule_out(&observed(3, ours)), "a late write of ours");
    }

    #[test]
    fn the_latest_counts_are_remembered() {
        let mut writes = OwnWrites::default();
        for n in [0, 0, 1, 2, 3, 0, 4, 5, 6, 7, 8] {
            writes.record_sent(count(n));
        }
        writes.record_observed(&observed(8, Some(FIELD_MANAGER)));
        let forgotten: Vec<i32> =
            (0..=8).filter(|n| writes.rule_out(&observed(*n, Some(FIELD_MANAGER)))).collect();
        assert_eq!(forgotten, [1]);
    }
}
