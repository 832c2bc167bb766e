//! The CPU time of a process.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// The CPU time of each thread of a process so far, in nanoseconds.
///
/// The kernel also has a total for the process, but only in hundredths of a second: too coarse for an idle process.
#[derive(Debug)]
pub(crate) struct CpuTime(HashMap<String, u64>);

impl CpuTime {
    /// Reads the CPU time so far.
    pub(crate) fn read(pid: u32) -> Result<Self> {
        let folder = format!("/proc/{pid}/task");
        let mut threads = HashMap::new();
        for thread in fs::read_dir(&folder).with_context(|| format!("cannot read {folder}"))? {
            let thread = thread?;
            // Ignores threads that have just ended.
            let Ok(text) = fs::read_to_string(thread.path().join("schedstat")) else { continue };
            let spent = text.split(' ').next().and_then(|nanoseconds| nanoseconds.parse().ok());
            let spent = spent.with_context(|| format!("{text:?} is not a CPU time"))?;
            threads.insert(thread.file_name().to_string_lossy().into_owned(), spent);
        }
        Ok(Self(threads))
    }

    /// The CPU time since `earlier`, without threads that have ended since.
    pub(crate) fn since(&self, earlier: &Self) -> Duration {
        let before = |thread| earlier.0.get(thread).copied().unwrap_or(0);
        let spent = self.0.iter().map(|(thread, now)| now.saturating_sub(before(thread)));
        Duration::from_nanos(spent.sum())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn work_takes_cpu_time() {
        let read = || CpuTime::read(std::process::id()).expect("on Linux");
        let (before, started) = (read(), Instant::now());
        while read().since(&before) < Duration::from_millis(5) {
            assert!(started.elapsed() < Duration::from_secs(10), "{before:?}");
        }
    }
}
