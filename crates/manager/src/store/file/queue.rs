//! The queue of changes for the committer.

use replica_count_core::change::{Change, Changed};
use replica_count_core::entry_target::EntryTarget;
use tokio::sync::oneshot;

use crate::store::error::StoreError;

/// The maximum number of queued changes; another one is refused.
pub(super) const QUEUE_CHANGES: usize = 4096;

/// A message to the committer.
#[derive(Debug)]
pub(super) enum Message {
    Apply(Submission),
    Close,
}

/// A submitted change.
#[derive(Debug)]
pub(super) struct Submission {
    pub(super) target: EntryTarget,
    pub(super) change: Change,
    /// The change is applied even if the caller no longer waits.
    pub(super) answer: oneshot::Sender<Result<Changed, StoreError>>,
}
