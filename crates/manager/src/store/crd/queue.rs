//! The changes that wait, in the order of each target.

use std::collections::{HashMap, VecDeque};

use replica_count_core::change::{Change, Changed};
use replica_count_core::entry_target::EntryTarget;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::Instant;

use crate::store::error::StoreError;

/// The maximum number of changes that wait; another one is refused.
pub(super) const QUEUE_CHANGES: usize = 4096;

/// A message to the writer.
#[derive(Debug)]
pub(super) enum Message {
    Apply(Box<Submission>),
    Close,
}

/// A submitted change.
#[derive(Debug)]
pub(super) struct Submission {
    pub(super) target: EntryTarget,
    pub(super) change: Change,
    /// If the caller no longer waits, the change is not begun.
    pub(super) answer: oneshot::Sender<Result<Changed, StoreError>>,
    /// When the change is given up.
    pub(super) deadline: Instant,
    /// Its place among those that wait.
    pub(super) place: OwnedSemaphorePermit,
}

/// Lets the changes of one target wait for each other, and no others.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    /// The targets that are worked on, with what waits.
    lanes: HashMap<(String, String, String), VecDeque<Submission>>,
}

impl Lanes {
    /// Adds a change; returns it if it need not wait.
    pub(super) fn add(&mut self, submission: Submission) -> Option<Submission> {
        match self.lanes.get_mut(&key(&submission.target)) {
            Some(waiting) => {
                waiting.push_back(submission);
                None
            }
            None => {
                self.lanes.insert(key(&submission.target), VecDeque::new());
                Some(submission)
            }
        }
    }

    /// Ends the work on a target; returns its next change.
    pub(super) fn next(&mut self, target: &EntryTarget) -> Option<Submission> {
        let key = key(target);
        let next = self.lanes.get_mut(&key)?.pop_front();
        if next.is_none() {
            self.lanes.remove(&key);
        }
        next
    }
}

fn key(target: &EntryTarget) -> (String, String, String) {
    (target.namespace().to_owned(), target.name().to_owned(), target.kind().to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::Timestamp;
    use replica_count_core::change::{Action, Existing};
    use replica_count_core::target::Target;
    use tokio::sync::Semaphore;

    use super::*;

    fn submission(name: &str, by: &str) -> Submission {
        let target = Target::deployment("shop", name).unwrap().into();
        let (at, action) = (Timestamp::UNIX_EPOCH, Action::Delete);
        let change = Change { expected_generation: None, existing: Existing::Any, by: by.into(), at, action };
        let place = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        Submission { target, change, answer: oneshot::channel().0, deadline: Instant::now(), place }
    }

    #[test]
    fn only_changes_of_one_target_wait() {
        let mut lanes = Lanes::default();
        let by = |submission: Option<Submission>| submission.map(|submission| submission.change.by);
        assert_eq!(by(lanes.add(submission("web", "1"))).as_deref(), Some("1"));
        assert_eq!(by(lanes.add(submission("web", "2"))), None);
        assert_eq!(by(lanes.add(submission("api", "3"))).as_deref(), Some("3"));
        let target = Target::deployment("shop", "web").unwrap().into();
        assert_eq!(by(lanes.next(&target)).as_deref(), Some("2"));
        assert_eq!(by(lanes.next(&target)), None);
        assert_eq!(by(lanes.add(submission("web", "4"))).as_deref(), Some("4"));
    }
}
