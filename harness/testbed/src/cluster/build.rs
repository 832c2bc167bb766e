//! Builds a program once, with `go build`.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use super::module::Module;
use super::{Program, go};
use crate::cache::{self, TICK};
use crate::progress::Progress;

/// How many of the last lines of a failed build are shown.
const TAIL_LINES: usize = 20;

/// The path of `program`, built from `module` if it is not in the cache.
pub(super) fn ensure(module: &Module, program: Program) -> Result<PathBuf> {
    cache::ensure(&module.cache, program.name(), |unfinished| {
        go::check(module, program)?;
        build(module, program, unfinished)
    })
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
