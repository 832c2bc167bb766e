//! The store: the desired counts, in memory for every reader and durable in one file.
//!
//! Readers take a short lock on a map and never wait for a disk. All changes go through one queue to one committer
//! (a blocking loop on a thread of its own), which takes whatever waits there as one batch, replaces the file, lets
//! memory follow, and only then answers. So an `Ok` means *durable*, concurrent changes share one write and one sync,
//! and memory never shows what the file does not hold.
//!
//! The file is read once, at [`Store::open`]; what others write to it afterwards is overwritten by the next change.

mod batch;
mod committer;
mod file;
mod metrics;
mod open;
#[cfg(test)]
mod tests;

use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};

use replica_count_core::change::{Change, ChangeError};
use replica_count_core::setting::{Setting, Settings};
use replica_count_core::target::Target;
use tokio::sync::{mpsc, oneshot};

pub use self::committer::Committer;
pub use self::file::{Disk, RealDisk};
pub use self::metrics::StoreMetrics;
pub use self::open::OpenError;

/// How many changes may wait for the committer; one more is refused as [`StoreError::Busy`].
const QUEUE_CHANGES: usize = 4096;

/// A handle on the store. All clones are the same store.
#[derive(Clone, Debug)]
pub struct Store {
    settings: SharedSettings,
    queue: mpsc::Sender<Message>,
    metrics: StoreMetrics,
}

/// The settings that the file holds. Only the committer writes here.
#[derive(Clone, Debug)]
struct SharedSettings(Arc<RwLock<Settings>>);

/// What the committer is told.
#[derive(Debug)]
enum Message {
    Apply(Submission),
    Close,
}

/// A change on its way to the committer.
#[derive(Debug)]
struct Submission {
    target: Target,
    change: Change,
    /// Nobody may be listening any more; then the change is made all the same.
    answer: oneshot::Sender<Result<Applied, StoreError>>,
}

/// What a change did: the setting before and after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// `None`: the target was not managed.
    pub before: Option<Arc<Setting>>,
    /// `None`: the target is not managed any more.
    pub after: Option<Arc<Setting>>,
}

/// Why a change is not stored, or not known to be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The change was refused by the rules of settings.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// There is no room for the file. Nothing was stored.
    #[error("nothing was stored: the disk of the settings file is full")]
    Full,
    /// The settings take as much as they may. Nothing was stored.
    #[error("nothing was stored: there is no room for more settings; delete those that are not needed")]
    TooMany,
    /// The file cannot be written. Nothing was stored.
    #[error("nothing was stored: the settings file cannot be written ({reason})")]
    Unavailable {
        /// What the operating system says.
        reason: Arc<str>,
    },
    /// The change is in force now, but may be gone after a crash of the machine.
    #[error(
        "it is not known whether the change is durable; read the setting, and repeat the change if needed"
    )]
    Uncertain,
    /// Too many changes wait for the disk. Nothing was stored.
    #[error("nothing was stored: {QUEUE_CHANGES} changes wait for the disk already; try again")]
    Busy,
    /// The store takes no more changes, because the server ends. Nothing was stored.
    #[error("nothing was stored: the server is shutting down")]
    Closed,
}

impl Store {
    /// The setting of `target`, if it is managed.
    pub fn get(&self, target: &Target) -> Option<Arc<Setting>> {
        self.read(|settings| settings.get(target).cloned())
    }

    /// Lets `reader` see all settings as they are at one moment.
    ///
    /// The committer waits as long as `reader` takes, so `reader` only looks.
    pub fn read<T>(&self, reader: impl FnOnce(&Settings) -> T) -> T {
        reader(&self.settings.read())
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
    pub fn check(&self, target: &Target, change: &Change) -> Result<Applied, ChangeError> {
        let before = self.get(target);
        let after = change.apply(before.as_deref())?;
        Ok(Applied { before, after })
    }

    /// Makes `change` and returns when it is durable.
    ///
    /// Changes of one target are made in the order in which they were submitted. A caller that stops waiting does not
    /// take its change back: it may be stored all the same.
    pub async fn apply(&self, target: Target, change: Change) -> Result<Applied, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.queue.try_send(Message::Apply(Submission { target, change, answer })).map_err(|refused| {
            match refused {
                mpsc::error::TrySendError::Full(_) => StoreError::Busy,
                mpsc::error::TrySendError::Closed(_) => StoreError::Closed,
            }
        })?;
        // The committer answers whatever it took, unless it died on the way: then nobody knows.
        answered.await.unwrap_or(Err(StoreError::Uncertain))
    }

    /// Asks the committer to end. It still commits what is in the queue by then; changes that come after are refused
    /// as [`StoreError::Closed`], and reads go on.
    pub async fn close(&self) {
        // An error says that the committer has ended already.
        let _ = self.queue.send(Message::Close).await;
    }

    /// The numbers that this store counts.
    pub fn metrics(&self) -> &StoreMetrics {
        &self.metrics
    }
}

impl SharedSettings {
    fn new(settings: Settings) -> Self {
        Self(Arc::new(RwLock::new(settings)))
    }

    fn read(&self) -> RwLockReadGuard<'_, Settings> {
        self.0.read().expect("the committer does not panic while it changes the map")
    }

    fn write(&self) -> RwLockWriteGuard<'_, Settings> {
        self.0.write().expect("only the committer changes the map, and it ends when it panics")
    }
}
