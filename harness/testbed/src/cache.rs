//! Programs that are built once and kept for this user: under a lock, so that two builds do not race, and by rename, so
//! that an interrupted one leaves nothing that looks finished.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;
use std::{env, process, thread};

use anyhow::{Context as _, Result, bail};

use crate::progress::Progress;

/// How often progress is reported while nothing happens.
pub(crate) const TICK: Duration = Duration::from_secs(1);

/// How the names of files start that no build has finished yet.
const UNFINISHED: &str = "unfinished-";

/// `$XDG_CACHE_HOME/replica-count-manager`, with the default of the XDG specification.
pub(crate) fn root() -> Result<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")));
    let cache =
        cache.context("neither XDG_CACHE_HOME nor HOME is set: there is no place to keep binaries")?;
    Ok(cache.join("replica-count-manager"))
}

/// Has the program `name` of a folder built unless it is there; returns its path. `build` writes it to the path that it is
/// given.
pub(crate) fn ensure(folder: &Path, name: &str, build: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let path = folder.join(name);
    if path.is_file() {
        return Ok(path);
    }
    fs::create_dir_all(folder).with_context(|| format!("cannot create the cache {}", folder.display()))?;
    let _lock = lock(folder)?;
    // Another build may have made it while this one waited.
    if path.is_file() {
        return Ok(path);
    }
    remove_leftovers(folder)?;
    // A name of its own, because the compiler of a build that was killed may still be at work on the old one.
    let unfinished = folder.join(format!("{UNFINISHED}{name}-{}", process::id()));
    build(&unfinished)?;
    fs::rename(&unfinished, &path).with_context(|| format!("cannot move {} in place", path.display()))?;
    Ok(path)
}

/// Holds the lock of a cache folder until it is dropped; the kernel frees it if this process dies.
fn lock(cache: &Path) -> Result<File> {
    let path = cache.join("lock");
    let context = || format!("cannot lock {}", path.display());
    let file = File::create(&path).with_context(context)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::Error(error)) => Err(error).with_context(context),
        Err(TryLockError::WouldBlock) => {
            let mut progress = Progress::new("waiting for another build".to_owned());
            let (done, locked) = mpsc::channel();
            thread::spawn(move || {
                // The receiver is gone only if the caller panicked; the lock is dropped then.
                let _ = done.send(file.lock().map(|()| file));
            });
            loop {
                match locked.recv_timeout(TICK) {
                    Ok(result) => return result.with_context(context),
                    Err(RecvTimeoutError::Timeout) => progress.tick(None),
                    Err(RecvTimeoutError::Disconnected) => {
                        bail!("the thread that waits for the lock panicked")
                    }
                }
            }
        }
    }
}

/// Removes what interrupted builds left. The caller holds the lock, so no other build is at work.
fn remove_leftovers(cache: &Path) -> Result<()> {
    for entry in fs::read_dir(cache)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
