//! The store of desired counts: in memory for all readers, and made durable by a backend.
//!
//! Readers take a short lock on a map and never wait for a disk or a network. A change goes to the backend, which makes
//! it durable and publishes it to the feed. The feed updates memory and notifies the subscriber of the store. Changes
//! by others arrive through the same feed.

mod backend;
mod crd;
mod error;
mod feed;
mod file;
mod mirror;

use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use prometheus_client::registry::Registry;
use replica_count_core::change::{Change, ChangeError, Changed};
use replica_count_core::entry_target::EntryTarget;
use replica_count_core::replicas::Replicas;
use replica_count_core::setting::{Setting, Settings};
use replica_count_core::stored::Stored;
use replica_count_core::target::Target;

use self::backend::Backend;
pub use self::crd::{Importer, Kept, NotEnforced, ObjectView, ReplicaCountSink, Unstarted, Writer};
pub use self::error::{BackendError, BackendReason, StoreError};
pub use self::feed::Subscriber;
pub use self::file::{Committer, Disk, OpenError, RealDisk};
use self::mirror::Mirror;

/// What makes changes durable, before it runs.
#[derive(Debug)]
pub enum Backing {
    /// Writes the settings file.
    File(Committer),
    /// Writes ReplicaCounts.
    Crd(Unstarted),
}

/// A handle to the store. All clones share it.
#[derive(Clone, Debug)]
pub struct Store {
    mirror: Mirror,
    backend: Arc<dyn Backend>,
}

impl Store {
    /// Opens the settings file at `path`. If it does not exist, the first change creates it.
    ///
    /// Nothing is stored until the caller runs the [`Committer`], which also holds the lock that keeps other processes
    /// out. A refused file is left unchanged. One that can be read but not written is opened; see
    /// [`problem`](Self::problem) and [`is_locked`](Self::is_locked).
    pub fn open_file(path: &Path) -> Result<(Self, Committer), OpenError> {
        Self::open_file_on(path, Box::new(RealDisk))
    }

    /// The same on another disk, such as the simulated one of fault injection.
    pub fn open_file_on(path: &Path, disk: Box<dyn Disk>) -> Result<(Self, Committer), OpenError> {
        let (mirror, handle, committer) = file::open(path, disk)?;
        Ok((Self { mirror, backend: Arc::new(handle) }, committer))
    }

    /// The store of ReplicaCounts, of which nothing has been read. Counts above `max_replicas` are not enforced.
    pub fn open_crd(max_replicas: Replicas) -> (Self, Unstarted) {
        let (mirror, handle, unstarted) = crd::open(max_replicas);
        (Self { mirror, backend: Arc::new(handle) }, unstarted)
    }

    /// What is stored for `target`, also if it was a temporary count that has ended.
    pub fn get(&self, target: &Target) -> Option<Arc<Setting>> {
        self.read(|settings| settings.get(target).cloned())
    }

    /// The setting of `target` that is in force at `now`.
    pub fn in_force(&self, target: &Target, now: Timestamp) -> Option<Arc<Setting>> {
        self.get(target)?.at(now)
    }

    /// Calls `reader` with all settings at one point in time.
    ///
    /// The backend waits for `reader`, so `reader` must only read.
    pub fn read<T>(&self, reader: impl FnOnce(&Settings) -> T) -> T {
        self.read_all(|stored| reader(&stored.settings))
    }

    /// The same with all that is stored, supported or not.
    pub fn read_all<T>(&self, reader: impl FnOnce(&Stored) -> T) -> T {
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

    /// The result that `change` would have now. Stores nothing.
    pub fn check(&self, target: &Target, change: &Change) -> Result<Changed, ChangeError> {
        let target = EntryTarget::Known(target.clone());
        let before = self.backend.entry_to_change(&target);
        change.apply(target, before)
    }

    /// Applies `change` and returns when it is durable.
    ///
    /// Changes of one target are applied in the order of submission. A caller that stops waiting does not cancel its
    /// change: it may still be stored.
    pub async fn apply(&self, target: impl Into<EntryTarget>, change: Change) -> Result<Changed, StoreError> {
        self.backend.apply(target.into(), change).await
    }

    /// Stops accepting changes. Those already submitted are still applied, and reads still work.
    pub async fn close(&self) {
        self.backend.close().await;
    }

    /// Why the last attempt to make something durable failed, at the start or for a change, in one line. `None`: it did
    /// not.
    pub fn problem(&self) -> Option<String> {
        self.backend.problem()
    }

    /// Whether no other server can use the same settings. Otherwise nothing may be enforced.
    pub fn is_locked(&self) -> bool {
        self.backend.is_locked()
    }

    /// Whether all settings have been read. Otherwise nothing is known of any target.
    pub fn is_read(&self) -> bool {
        self.backend.is_read()
    }

    /// Whether the settings in memory are those that are stored, apart from a delay. Otherwise nothing may be enforced.
    pub fn is_current(&self) -> bool {
        self.backend.is_current()
    }

    /// Registers the metrics of the store, under names that begin with `store_`.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("store");
        self.mirror.register(registry);
        self.backend.register(registry);
    }
}
