//! The queue of changes that wait for the committer.

use replica_count_core::change::{Change, Changed};
use replica_count_core::target::Target;
use tokio::sync::oneshot;

use crate::store::error::StoreError;

/// How many changes may wait; one more is refused.
pub(super) const QUEUE_CHANGES: usize = 4096;

/// What the committer is told.
#[derive(Debug)]
pub(super) enum Message {
    Apply(Submission),
    Close,
}

/// A change on its way to the committer.
#[derive(Debug)]
pub(super) struct Submission {
    pub(super) target: Target,
    pub(super) change: Change,
    /// The change is made even if nobody listens any more.
    pub(super) answer: oneshot::Sender<Result<Changed, StoreError>>,
}
