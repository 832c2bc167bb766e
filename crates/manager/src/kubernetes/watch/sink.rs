//! The receiver of a watch. The watch does not know what the receiver does.

use tokio::time::Instant;

use super::object::Object;
use crate::kubernetes::MalformedObject;

/// Receives the objects and the state of a watch.
pub trait Sink: Send + Sync + 'static {
    /// The watched objects.
    type Object: Object;

    /// The name of the watched resource, for the log.
    fn watched(&self) -> &'static str;

    /// A full listing begins.
    fn begin_listing(&self);

    /// An object was listed, added or changed.
    fn apply(&self, object: Self::Object) -> Result<(), MalformedObject>;

    /// An object was deleted.
    fn delete(&self, object: Self::Object) -> Result<(), MalformedObject>;

    /// The listing is complete: objects that it did not contain do not exist. `version` is what it shows, which is more
    /// than the objects say if others were deleted. Returns how many objects exist.
    fn end_listing(&self, version: &str) -> usize;

    /// The watch is open, and nothing was missed.
    fn live(&self);

    /// The watch is broken. `since` is when the last data arrived from the API server.
    fn stale(&self, since: Instant);

    /// The API server has refused the watch for some seconds: a permission is missing, or it does not know the resource.
    /// A watch that works again lists again. `is_first`: it is the first time since the watch worked.
    fn refused(&self, reason: &str, is_first: bool);

    /// The watch works again after a failure.
    fn recovered(&self);
}
