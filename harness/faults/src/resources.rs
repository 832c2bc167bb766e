//! What a process uses, according to the kernel.

use std::fs;

use anyhow::{Context as _, Result};

/// How many more of each there may be than at the beginning: a request or a client may come at any time.
const MARGIN: usize = 4;
/// By which factor memory may grow.
const MEMORY_FACTOR: f64 = 1.2;

/// What a process and its descendants use.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Resources {
    /// The process and its descendants.
    pub(crate) processes: usize,
    /// Its threads.
    pub(crate) threads: usize,
    /// Its open files and connections.
    pub(crate) descriptors: usize,
    /// Its resident memory.
    pub(crate) mebibytes: f64,
}

impl Resources {
    /// Reads the current values.
    pub(crate) fn read(pid: u32) -> Result<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.strip_suffix(" kB"));
        let kibibytes: u32 = resident.context("a zombie has no memory")?.trim().parse()?;
        Ok(Self {
            processes: family(pid)?,
            threads: fs::read_dir(format!("/proc/{pid}/task"))?.count(),
            descriptors: fs::read_dir(format!("/proc/{pid}/fd"))?.count(),
            mebibytes: f64::from(kibibytes) / 1024.0,
        })
    }

    /// The greater counts, and the memory of `later`.
    pub(crate) fn max(self, later: Self) -> Self {
        Self {
            processes: self.processes.max(later.processes),
            threads: self.threads.max(later.threads),
            descriptors: self.descriptors.max(later.descriptors),
            mebibytes: later.mebibytes,
        }
    }

    /// What has grown since `before`.
    pub(crate) fn growth(self, before: Self) -> Option<String> {
        let counts = [
            (self.processes, before.processes),
            (self.threads, before.threads),
            (self.descriptors, before.descriptors),
        ];
        let has_grown = counts.iter().any(|(now, before)| *now > before + MARGIN)
            || self.mebibytes > before.mebibytes * MEMORY_FACTOR;
        has_grown.then(|| format!("the server's use of resources has grown: {before:?}, then {self:?}"))
    }
}

/// The number of a process and its descendants.
fn family(pid: u32) -> Result<usize> {
    // The second field of a stat, a name in parentheses, may contain anything.
    let parent = |stat: String| stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse::<u32>().ok();
    let parents: Vec<(u32, u32)> = fs::read_dir("/proc")?
        .filter_map(|entry| {
            let child = entry.ok()?.file_name().to_str()?.parse().ok()?;
            Some((child, parent(fs::read_to_string(format!("/proc/{child}/stat")).ok()?)?))
        })
        .collect();
    let mut family = vec![pid];
    let mut n = 0;
    while n < family.len() {
        family.extend(
            parents
                .iter()
                .filter(|(_, parent)| *parent == family[n])
                .map(|(child, _)| *child)
                .collect::<Vec<_>>(),
        );
        n += 1;
    }
    Ok(family.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_found() {
        let before = Resources { processes: 1, threads: 7, descriptors: 20, mebibytes: 30.0 };
        assert_eq!(Resources { descriptors: 24, mebibytes: 36.0, ..before }.growth(before), None);
        for more in [
            Resources { processes: 6, ..before },
            Resources { threads: 12, ..before },
            Resources { descriptors: 25, ..before },
            Resources { mebibytes: 36.1, ..before },
        ] {
            assert!(more.growth(before).is_some(), "{more:?}");
        }
    }

    #[test]
    fn this_process_is_measured() {
        let used = Resources::read(std::process::id()).expect("on Linux");
        assert!(used.processes >= 1 && used.threads >= 1 && used.descriptors >= 1, "{used:?}");
        assert!(used.mebibytes > 1.0, "{used:?}");
    }
}
