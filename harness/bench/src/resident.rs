//! The memory of a process, according to the kernel.

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::machine;

/// The memory of a process, in MB.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Resident {
    pub(crate) now: f64,
    /// The maximum since the start.
    pub(crate) peak: f64,
    /// Heap and stacks.
    anonymous: f64,
    /// Code and other mapped files, which processes may share.
    file: f64,
}

impl Resident {
    /// Reads the current values.
    pub(crate) fn read(pid: u32) -> Result<Self> {
        let path = format!("/proc/{pid}/status");
        let read = |key: &str| megabytes(&machine::entry(&path, key)?);
        Ok(Self {
            now: read("VmRSS")?,
            peak: read("VmHWM")?,
            anonymous: read("RssAnon")?,
            file: read("RssFile")?,
        })
    }
}

/// Parses the kernel's kB, which are 1,024 bytes.
fn megabytes(text: &str) -> Result<f64> {
    let kibibytes: u32 = text
        .strip_suffix(" kB")
        .and_then(|number| number.parse().ok())
        .with_context(|| format!("{text:?} is not a number of kB"))?;
    Ok(f64::from(kibibytes) * 1024.0 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_memory_of_this_process() {
        let resident = Resident::read(std::process::id()).expect("on Linux");
        assert!(resident.now > 0.0 && resident.peak >= resident.now, "{resident:?}");
    }

    #[test]
    fn knows_the_unit_of_the_kernel() {
        assert!((megabytes("1000 kB").expect("valid") - 1.024).abs() < 1e-9);
        for text in ["1000", "1000 MB", "kB", "-1 kB"] {
            assert!(megabytes(text).is_err(), "{text}");
        }
    }
}
