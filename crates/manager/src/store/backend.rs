//! The interface of backends, which make changes durable.

use std::fmt::Debug;

use futures_util::future::BoxFuture;
use prometheus_client::registry::Registry;
use replica_count_core::change::{Change, Changed};
use replica_count_core::entry_target::EntryTarget;
use replica_count_core::stored::Entry;

use super::error::StoreError;

/// Makes changes durable, and publishes them to the feed before answering.
pub(super) trait Backend: Debug + Send + Sync {
    /// Applies `change` and returns when it is durable.
    ///
    /// Changes of one target are applied in the order of submission. A caller that stops waiting does not cancel its
    /// change: it may still be stored, unless it has not been begun.
    fn apply(&self, target: EntryTarget, change: Change) -> BoxFuture<'_, Result<Changed, StoreError>>;

    /// What is stored for `target`, as a change with this action sees it.
    fn entry_to_change(&self, target: &EntryTarget) -> Option<Entry>;

    /// Stops accepting changes. Those already submitted are still applied, if their callers wait for them.
    fn close(&self) -> BoxFuture<'_, ()>;

    /// Why the last attempt to make something durable failed. `None`: it did not.
    fn problem(&self) -> Option<String>;

    /// Whether no other server can use the same settings.
    fn is_locked(&self) -> bool;

    /// Whether all settings have been read.
    fn is_read(&self) -> bool;

    /// Whether the settings in memory are those that are stored, apart from a delay. Otherwise nothing may be enforced.
    fn is_current(&self) -> bool;

    /// Registers the metrics of the backend.
    fn register(&self, registry: &mut Registry);
}
