//! Opens the file: resolves links, locks out other processes, and reads the file once.

use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use replica_count_core::settings_file::{self, SettingsFileError, Text};
use replica_count_core::stored::Stored;
use tokio::sync::mpsc;

use super::committer::Committer;
use super::disk::{Disk, SettingsFile};
use super::handle::Handle;
use super::lock::Lock;
use super::metrics::FileMetrics;
use super::queue::QUEUE_CHANGES;
use super::writable::Writable;
use crate::store::mirror::Mirror;

/// Why the store cannot be opened. Each message is one line that names the file or folder.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The path is empty, or it is a folder or a device.
    #[error("{path:?} is not a file")]
    NotAFile {
        /// The path as given.
        path: PathBuf,
    },
    /// The folder does not exist or cannot be entered.
    #[error("cannot use the folder {} of the settings file: {reason}", folder.display())]
    Folder {
        /// The folder of the path as given.
        folder: PathBuf,
        /// The error of the operating system.
        reason: io::Error,
    },
    /// The path is a symbolic link to a file that does not exist, perhaps because a disk is not mounted yet.
    #[error("cannot follow the link {} to {}: {reason}", path.display(), destination.display())]
    Link {
        /// The path as given.
        path: PathBuf,
        /// The destination of the link.
        destination: PathBuf,
        /// The error of the operating system.
        reason: io::Error,
    },
    /// The lock file cannot be created or locked.
    #[error("cannot lock {}: {reason}", lock.display())]
    Lock {
        /// The lock file.
        lock: PathBuf,
        /// The error of the operating system.
        reason: io::Error,
    },
    /// Another process has the lock.
    #[error("{} is in use: another process holds the lock on {}", path.display(), lock.display())]
    InUse {
        /// The settings file.
        path: PathBuf,
        /// The lock file.
        lock: PathBuf,
    },
    /// There is no settings file, and none can be created in the folder.
    #[error("cannot write to the folder {} of the settings file: {reason}", folder.display())]
    NotWritable {
        /// The folder of the settings file.
        folder: PathBuf,
        /// The error of the operating system.
        reason: io::Error,
    },
    /// The file exists but cannot be read.
    #[error("cannot read {}: {reason}", path.display())]
    Read {
        /// The settings file.
        path: PathBuf,
        /// The error of the operating system.
        reason: io::Error,
    },
    /// The file does not contain valid settings.
    #[error("{}, {reason}", path.display())]
    Broken {
        /// The settings file.
        path: PathBuf,
        /// What is wrong, and where.
        reason: SettingsFileError,
    },
}

/// Opens the settings file at `path` on `disk`. The committer holds its lock.
pub(in crate::store) fn open(
    path: &Path,
    disk: Box<dyn Disk>,
) -> Result<(Mirror, Handle, Committer), OpenError> {
    let (folder, name) = resolve(path)?;
    let lock = Lock::acquire(&folder, &name)?;
    let file = SettingsFile::new(folder, &name, disk, lock.missing.as_ref().map(io::Error::kind));
    let not_writable = |reason| OpenError::NotWritable { folder: file.folder().to_owned(), reason };
    let unwritable = file.probe().map_err(not_writable)?;
    let writable = Writable::new(unwritable.map(not_writable).map(|error| error.to_string()));
    let stored = read(file.path())?;
    let text = Text::of(&stored);
    let (metrics, mirror) = (FileMetrics::new(), Mirror::new(stored));
    let (sender, queue) = mpsc::channel(QUEUE_CHANGES);
    let is_locked = lock.file.is_some();
    let handle = Handle { queue: sender, metrics: metrics.clone(), writable: writable.clone(), is_locked };
    Ok((mirror.clone(), handle, Committer { mirror, file, queue, metrics, writable, text, lock }))
}

/// The folder and the name of the file at `path`, with all links resolved.
fn resolve(path: &Path) -> Result<(PathBuf, OsString), OpenError> {
    let not_a_file = || OpenError::NotAFile { path: path.to_owned() };
    let real = match (fs::canonicalize(path), fs::read_link(path)) {
        (Ok(real), _) if real.is_file() => real,
        (Ok(_), _) => return Err(not_a_file()),
        (Err(reason), Ok(destination)) => {
            return Err(OpenError::Link { path: path.to_owned(), destination, reason });
        }
        // The first change creates it, unless one of the next steps fails.
        (Err(_), Err(_)) => path.to_owned(),
    };
    let name = real.file_name().ok_or_else(not_a_file)?;
    let folder = match real.parent() {
        Some(folder) if folder.as_os_str().is_empty() => Path::new("."),
        Some(folder) => folder,
        None => return Err(not_a_file()),
    };
    match fs::canonicalize(folder).and_then(|folder| fs::read_dir(&folder).map(|_| folder)) {
        Ok(folder) => Ok((folder, name.to_owned())),
        Err(reason) => Err(OpenError::Folder { folder: folder.to_owned(), reason }),
    }
}

fn read(path: &Path) -> Result<Stored, OpenError> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(reason) if reason.kind() == ErrorKind::NotFound => return Ok(Stored::default()),
        Err(reason) => return Err(OpenError::Read { path: path.to_owned(), reason }),
    };
    settings_file::parse(&text).map_err(|reason| OpenError::Broken { path: path.to_owned(), reason })
}
