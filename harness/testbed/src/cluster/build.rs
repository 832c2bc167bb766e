//! Builds each program once: under a lock, so two builds do not race, and with a final rename, so an interrupted build
//! leaves no file that looks finished.

use std::fs::{self, File, TryLockError};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};
use std::{process, thread};

use anyhow::{Context as _, Result, bail};

use super::module::Module;
use super::progress::Progress;
use super::{Program, go};

/// How often progress is reported while there is no output.
const TICK: Duration = Duration::from_secs(1);

/// The prefix of files that are still being built.
const UNFINISHED: &str = "unfinished-";

/// How many of the last lines of a failed build are shown.
const TAIL_LINES: usize = 20;

/// The path of `program`, built from `module` if it is not in the cache.
pub(super) fn ensure(module: &Module, program: Program) -> Result<PathBuf> {
    let path = module.cache.join(program.name());
    if path.is_file() {
        return Ok(path);
    }
    go::check(module, program)?;
    fs::create_dir_all(&module.cache)
        .with_context(|| format!("cannot create the cache {}", module.cache.display()))?;
    let _lock = lock(&module.cache)?;
    // Another build may have finished it while this one waited.
    if path.is_file() {
        return Ok(path);
    }
    remove_leftovers(&module.cache)?;
    // A unique name, because the compiler of a killed build may still be writing to the old file.
    let unfinished = module.cache.join(format!("{UNFINISHED}{}-{}", program.name(), process::id()));
    build(module, program, &unfinished)?;
    fs::rename(&unfinished, &path).with_context(|| format!("cannot move {} in place", path.display()))?;
    Ok(path)
}

/// Locks a cache folder until dropped. The kernel releases the lock if this process dies.
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
                // The receiver is gone only if the caller panicked; this drops the lock.
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

/// Removes the leftovers of interrupted builds. The caller holds the lock, so no other build is running.
fn remove_leftovers(cache: &Path) -> Result<()> {
    for entry in fs::read_dir(cache)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Runs `go build`, and reports progress by the packages it prints.
fn build(module: &Module, program: Program, output: &Path) -> Result<()> {
    let started = Instant::now();
    let mut progress =
        Progress::new(format!("building {} (once; kept in {})", program.name(), module.cache.display()));
    let total = count_packages(module, program, &mut progress)?;
    let mut child = go::build(module, program, output).spawn().context("cannot run `go`")?;
    let stderr = child.stderr.take().context("the stderr of `go` is piped")?;
    let (send, lines) = mpsc::channel();
    let reader = thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            if send.send(line).is_err() {
                break;
            }
        }
    });
    let mut seen = Vec::new();
    loop {
        match lines.recv_timeout(TICK) {
            Ok(line) => seen.push(line),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        progress.tick(total.map(|total| (seen.len(), total)));
    }
    let status = child.wait().context("cannot wait for `go`")?;
    if reader.join().is_err() {
        bail!("the thread that reads from `go` panicked");
    }
    if !status.success() {
        let tail = seen[seen.len().saturating_sub(TAIL_LINES)..].join("\n");
        bail!("`go build` of {} failed ({status}):\n{tail}\n{}", program.name(), go::remedy(&tail));
    }
    progress.done(&format!("built {} in {:.0} s", program.name(), started.elapsed().as_secs_f64()));
    Ok(())
}

/// Counts in a thread and reports progress, because Go may have to download the sources first.
fn count_packages(module: &Module, program: Program, progress: &mut Progress) -> Result<Option<usize>> {
    thread::scope(|scope| {
        let (done, counted) = mpsc::channel();
        scope.spawn(move || done.send(go::count_packages(module, program)));
        loop {
            match counted.recv_timeout(TICK) {
                Ok(total) => return Ok(total),
                Err(RecvTimeoutError::Timeout) => progress.tick(None),
                Err(RecvTimeoutError::Disconnected) => bail!("the thread that counts packages panicked"),
            }
        }
    })
}
