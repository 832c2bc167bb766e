//! Temporary folders. One whose owner was killed is removed when the next one is created.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::{env, io};

use anyhow::{Context as _, Result};

const PREFIX: &str = "replica-count-testbed-";
const LOCK_SUFFIX: &str = ".lock";

/// A folder that only this user can enter, removed on drop. A locked file beside it shows that its owner is alive.
#[derive(Debug)]
pub(crate) struct Scratch {
    path: PathBuf,
    lock_path: PathBuf,
    _lock: File,
    /// Whether the drop leaves the folder to its heir.
    is_left: bool,
}

impl Scratch {
    pub(crate) fn new() -> Result<Self> {
        Self::new_in(&env::temp_dir())
    }

    pub(crate) fn new_in(parent: &Path) -> Result<Self> {
        sweep(parent);
        let path = parent.join(format!("{PREFIX}{:016x}", fastrand::u64(..)));
        let lock_path = lock_path(&path);
        let context = || format!("cannot create {}", path.display());
        let lock = File::create_new(&lock_path).with_context(context)?;
        lock.lock().with_context(context)?;
        DirBuilder::new().mode(0o700).create(&path).with_context(context)?;
        Ok(Self { path, lock_path, _lock: lock, is_left: false })
    }

    /// Waits until the owner of the folder at `path` is gone, and takes it over. `None` if another process has already
    /// removed it.
    pub(crate) fn inherit(path: &Path) -> Result<Option<Self>> {
        let lock_path = lock_path(path);
        let context = || format!("cannot lock {}", lock_path.display());
        let lock = match File::options().write(true).open(&lock_path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.with_context(context)?,
        };
        lock.lock().with_context(context)?;
        Ok(Some(Self { path: path.to_owned(), lock_path, _lock: lock, is_left: false }))
    }

    /// Gives the folder up without removing it, for [`Self::inherit`].
    pub(crate) fn leave(mut self) {
        self.is_left = true;
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.is_left {
            return;
        }
        // If this fails, a later sweep removes it.
        if fs::remove_dir_all(&self.path).is_ok() {
            let _ = fs::remove_file(&self.lock_path);
        }
    }
}

fn lock_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(LOCK_SUFFIX);
    PathBuf::from(name)
}

/// Removes the folders whose owners are gone. Ignores folders of other users, or those already being removed.
fn sweep(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(folder) = name.to_str().and_then(|name| name.strip_suffix(LOCK_SUFFIX)) else { continue };
        if folder.starts_with(PREFIX) {
            let _ = remove_abandoned(&parent.join(folder), &entry.path());
        }
    }
}

fn remove_abandoned(path: &Path, lock_path: &Path) -> io::Result<()> {
    let lock = File::options().write(true).open(lock_path)?;
    match lock.try_lock() {
        Err(TryLockError::WouldBlock) => return Ok(()),
        Err(TryLockError::Error(error)) => return Err(error),
        Ok(()) => {}
    }
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    fs::remove_file(lock_path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_abandoned_folders_are_swept() {
        let parent = Scratch::new().unwrap();
        let alive = Scratch::new_in(parent.path()).unwrap();
        let abandoned = parent.path().join(format!("{PREFIX}abandoned"));
        fs::create_dir(&abandoned).unwrap();
        File::create(lock_path(&abandoned)).unwrap();
        fs::write(abandoned.join("etcd.log"), "").unwrap();

        sweep(parent.path());

        assert!(alive.path().is_dir());
        assert!(!abandoned.exists());
        assert!(!lock_path(&abandoned).exists());
        let path = alive.path().to_owned();
        drop(alive);
        assert!(!path.exists());
    }
}
