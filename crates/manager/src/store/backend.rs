//! What makes changes durable.

use std::fmt::Debug;

use futures_util::future::BoxFuture;
use prometheus_client::registry::Registry;
use replica_count_core::change::{Change, Changed};
use replica_count_core::target::Target;

use super::error::StoreError;

/// Makes changes durable, and publishes them on the feed before it answers.
pub(super) trait Backend: Debug + Send + Sync {
    /// Makes `change` and returns when it is durable.
    ///
    /// Changes of one target are made in the order in which they were submitted. A caller that stops waiting does not
    /// take its change back: it may still be stored.
    fn apply(&self, target: Target, change: Change) -> BoxFuture<'_, Result<Changed, StoreError>>;

    /// Takes no more changes; those that are submitted by then are still made.
    fn close(&self) -> BoxFuture<'_, ()>;

    /// Makes the metrics of the backend part of what `registry` shows.
    fn register(&self, registry: &mut Registry);
}
