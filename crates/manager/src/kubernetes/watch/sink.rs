//! Where a watch puts what it shows. The watch knows nothing of what becomes of it.

use tokio::time::Instant;

use super::object::Object;
use crate::kubernetes::MalformedObject;

/// Takes in what a watch shows, and how well the watch works.
pub trait Sink: Send + Sync + 'static {
    /// What is watched.
    type Object: Object;

    /// What is watched, for the log.
    fn watched(&self) -> &'static str;

    /// A full listing begins.
    fn restart(&self);

    /// An object was listed, added or changed.
    fn apply(&self, object: Self::Object) -> Result<(), MalformedObject>;

    /// An object was deleted.
    fn delete(&self, object: Self::Object) -> Result<(), MalformedObject>;

    /// The listing is complete: what it did not show is gone. Returns how many objects are known.
    fn complete(&self) -> usize;

    /// The watch is open, and nothing was missed.
    fn live(&self);

    /// The watch is broken. The API server was last heard at `since`.
    fn stale(&self, since: Instant);

    /// The API server refuses the watch for the first time since it worked: a right is missing, or it does not know the
    /// resource.
    fn refused(&self, reason: &str);

    /// The watch works again after a failure.
    fn recovered(&self);
}
