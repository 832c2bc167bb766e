//! The lock that keeps other processes away from the settings file.

use std::ffi::OsStr;
use std::fs::{File, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::disk::{beside, is_unwritable};
use super::open_error::OpenError;

/// What keeps other processes away. The lock is held until this is dropped.
#[derive(Debug)]
pub(super) struct Lock {
    /// The locked file. `None`: nothing could be locked, so another server may be using the settings.
    pub(super) file: Option<File>,
    /// Why the lock file does not exist. Without it, another process may start to write, so this one must not.
    pub(super) missing: Option<io::Error>,
}

impl Lock {
    /// Locks a sibling of the settings file, because every change replaces the file itself. Where no sibling can be
    /// created, the settings file is locked, so that only one process enforces it.
    pub(super) fn acquire(folder: &Path, name: &OsStr) -> Result<Self, OpenError> {
        let (path, sibling) = (folder.join(name), beside(folder, name, ".lock"));
        let created = File::options().create(true).truncate(false).write(true).open(&sibling);
        let missing = match created {
            Ok(file) => {
                return match file.try_lock() {
                    Ok(()) => {
                        // A server that could not create the lock file holds this one.
                        lock_existing(&path, &path)?;
                        Ok(Self { file: Some(file), missing: None })
                    }
                    Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path, lock: sibling }),
                    Err(TryLockError::Error(reason)) => Err(OpenError::Lock { lock: sibling, reason }),
                };
            }
            Err(reason) if is_unwritable(&reason) && path.is_file() => reason,
            Err(reason) => return Err(OpenError::Lock { lock: sibling, reason }),
        };
        match (lock_existing(&path, &sibling)?, lock_existing(&path, &path)?) {
            (Some(file), _) => Ok(Self { file: Some(file), missing: None }),
            (None, file) => Ok(Self { file, missing: Some(missing) }),
        }
    }
}

/// Locks a file that may not be writable. `None`: it does not exist, or its file system cannot lock it.
fn lock_existing(path: &Path, lock: &PathBuf) -> Result<Option<File>, OpenError> {
    let Some(file) = existing(path, lock, File::open(lock))? else { return Ok(None) };
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: path.to_owned(), lock: lock.clone() }),
        Err(TryLockError::Error(_)) => Ok(None),
    }
}

/// The opened file. `None`: it does not exist. One that exists and cannot be opened may be locked by another process.
fn existing(path: &Path, lock: &Path, opened: io::Result<File>) -> Result<Option<File>, OpenError> {
    match opened {
        Ok(file) => Ok(Some(file)),
        Err(reason) if reason.kind() == ErrorKind::NotFound => Ok(None),
        Err(reason) if lock == path => Err(OpenError::Read { path: path.to_owned(), reason }),
        Err(reason) => Err(OpenError::Lock { lock: lock.to_owned(), reason }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_file_that_cannot_be_opened_is_not_a_missing_one() {
        let path = Path::new("replicas.json");
        for (lock, expected) in [("replicas.json.lock", "cannot lock "), ("replicas.json", "cannot read ")] {
            let opened = |kind: ErrorKind| existing(path, Path::new(lock), Err(kind.into()));
            assert!(matches!(opened(ErrorKind::NotFound), Ok(None)));
            for kind in [ErrorKind::PermissionDenied, ErrorKind::Other] {
                let error = opened(kind).expect_err("unusable").to_string();
                assert!(error.starts_with(&format!("{expected}{lock}: ")), "{error}");
            }
        }
    }
}
