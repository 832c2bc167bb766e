//! The handle of callers to the backend.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use prometheus_client::registry::Registry;
use replica_count_core::change::{Change, Changed};
use replica_count_core::entry_target::EntryTarget;
use replica_count_core::stored::Entry;
use tokio::sync::{mpsc, oneshot};

use super::failure;
use super::metrics::FileMetrics;
use super::queue::{Message, Submission};
use super::writable::Writable;
use crate::store::backend::Backend;
use crate::store::error::StoreError;
use crate::store::mirror::Mirror;

/// Submits changes to the committer.
#[derive(Debug)]
pub(in crate::store) struct Handle {
    pub(super) mirror: Mirror,
    pub(super) queue: mpsc::Sender<Message>,
    pub(super) metrics: FileMetrics,
    pub(super) writable: Writable,
    pub(super) is_locked: bool,
}

impl Backend for Handle {
    fn apply(&self, target: EntryTarget, change: Change) -> BoxFuture<'_, Result<Changed, StoreError>> {
        let (answer, answered) = oneshot::channel();
        let submitted = self.queue.try_send(Message::Apply(Submission { target, change, answer }));
        async move {
            submitted.map_err(|refused| match refused {
                mpsc::error::TrySendError::Full(_) => failure::busy(),
                mpsc::error::TrySendError::Closed(_) => failure::closed(),
            })?;
            // The committer answers every change that it took. If it died before that, the outcome is unknown.
            answered.await.unwrap_or_else(|_| Err(failure::uncertain()))
        }
        .boxed()
    }

    fn entry_to_change(&self, target: &EntryTarget) -> Option<Entry> {
        self.mirror.read().get(target)
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async {
            // An error means that the committer has already ended.
            let _ = self.queue.send(Message::Close).await;
        }
        .boxed()
    }

    fn problem(&self) -> Option<String> {
        self.writable.problem()
    }

    fn is_locked(&self) -> bool {
        self.is_locked
    }

    /// The file is read when it is opened.
    fn is_read(&self) -> bool {
        true
    }

    fn is_current(&self) -> bool {
        true
    }

    fn register(&self, registry: &mut Registry) {
        self.metrics.register(registry);
        registry.register(
            "writable",
            "Whether the last attempt to write the settings file succeeded, at the start or for a change",
            self.writable.gauge(),
        );
    }
}
