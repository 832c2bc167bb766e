//! Builds a program once: under a lock, so that two builds do not race, and by rename, so that an interrupted one
//! leaves nothing that looks finished.

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

/// How often progress is reported while nothing happens.
const TICK: Duration = Duration::from_secs(1);

/// How the names of files start that no build has finished yet.
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
    // Another build may have made it while this one waited.
    if path.is_file() {
        return Ok(path);
    }
    remove_leftovers(&module.cache)?;
    // A name of its own, because the compiler of a build that was killed may still be at work on the old one.
    let unfinished = module.cache.join(format!("{UNFINISHED}{}-{}", program.name(), process::id()));
    build(module, program, &unfinished)?;
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

/// Runs `go build`, and reports how far it is from the packages it says it compiles.
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

/// Counts in the background, because the sources may have to be downloaded first.
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
