//! The store: the desired counts, in memory for every reader, made durable by a backend.
//!
//! Readers take a short lock on a map and never wait for a disk or a network. A change goes to the backend, which makes
//! it durable and publishes it on the feed; the feed lets memory follow and tells whoever follows the store. Changes that
//! others made arrive by the same feed.

mod backend;
mod error;
mod feed;
mod file;
mod mirror;

use std::path::Path;
use std::sync::Arc;

use prometheus_client::registry::Registry;
use replica_count_core::change::{Change, ChangeError, Changed};
use replica_count_core::setting::{Setting, Settings};
use replica_count_core::target::Target;

use self::backend::Backend;
pub use self::error::{BackendError, BackendReason, StoreError};
pub use self::feed::Follower;
pub use self::file::{Committer, Disk, OpenError, RealDisk};
use self::mirror::Mirror;

/// A handle on the store. All clones are the same store.
#[derive(Clone, Debug)]
pub struct Store {
    mirror: Mirror,
    backend: Arc<dyn Backend>,
}

impl Store {
    /// Opens the settings file at `path`. If there is none, the first change makes it.
    ///
    /// Nothing is stored until the caller runs the [`Committer`], which also holds the lock that keeps other processes
    /// from the file. A file that is refused is left as it is.
    pub fn open_file(path: &Path) -> Result<(Self, Committer), OpenError> {
        Self::open_file_on(path, Box::new(RealDisk))
    }

    /// The same on another disk, such as the simulated one of fault injection.
    pub fn open_file_on(path: &Path, disk: Box<dyn Disk>) -> Result<(Self, Committer), OpenError> {
        let (mirror, handle, committer) = file::open(path, disk)?;
        Ok((Self { mirror, backend: Arc::new(handle) }, committer))
    }

    /// The setting of `target`, if it is managed.
    pub fn get(&self, target: &Target) -> Option<Arc<Setting>> {
        self.read(|settings| settings.get(target).cloned())
    }

    /// Lets `reader` see all settings as they are at one moment.
    ///
    /// The backend waits as long as `reader` takes, so `reader` only looks.
    pub fn read<T>(&self, reader: impl FnOnce(&Settings) -> T) -> T {
        reader(&self.mirror.read())
    }

    /// How many targets are managed.
    pub fn len(&self) -> usize {
        self.read(Settings::len)
    }

    /// Whether no target is managed.
    pub fn is_empty(&self) -> bool {
        self.read(Settings::is_empty)
    }

    /// What `change` would do now. Stores nothing.
    pub fn check(&self, target: &Target, change: &Change) -> Result<Changed, ChangeError> {
        change.apply(target.clone(), self.get(target))
    }

    /// Makes `change` and returns when it is durable.
    ///
    /// Changes of one target are made in the order in which they were submitted. A caller that stops waiting does not
    /// take its change back: it may still be stored.
    pub async fn apply(&self, target: Target, change: Change) -> Result<Changed, StoreError> {
        self.backend.apply(target, change).await
    }

    /// Takes no more changes. Those that were submitted by then are still made, and reads go on.
    pub async fn close(&self) {
        self.backend.close().await;
    }

    /// Makes the metrics of the store part of what `registry` shows, under names that begin with `store_`.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("store");
        registry.register("settings", "Targets with a stored replica count", self.mirror.count());
        self.backend.register(registry);
    }
}
