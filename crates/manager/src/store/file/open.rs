//! Opens the file: resolves links, locks out other processes, and reads the file once.

use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use replica_count_core::settings_file::{self, Text};
use replica_count_core::stored::Stored;
use tokio::sync::mpsc;

use super::committer::Committer;
use super::disk::{Disk, SettingsFile};
use super::handle::Handle;
use super::lock::Lock;
use super::metrics::FileMetrics;
use super::open_error::OpenError;
use super::queue::QUEUE_CHANGES;
use super::writable::Writable;
use crate::store::mirror::Mirror;

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
    let handle = Handle {
        mirror: mirror.clone(),
        queue: sender,
        metrics: metrics.clone(),
        writable: writable.clone(),
        is_locked,
    };
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
