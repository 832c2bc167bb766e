//! Identifies the disk of a folder, because on an in-memory one, every sync would be free.

use std::path::Path;
use std::{fmt, fs};

use anyhow::{Context as _, Result};

/// File systems without a disk.
const IN_MEMORY: [&str; 2] = ["tmpfs", "ramfs"];

/// A mounted file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Disk {
    kind: String,
    device: String,
}

impl Disk {
    /// The file system of a folder.
    pub(super) fn of(folder: &Path) -> Result<Self> {
        let folder = folder.canonicalize().with_context(|| format!("cannot find {}", folder.display()))?;
        let mounts = fs::read_to_string("/proc/self/mounts").context("cannot read the mounts")?;
        find(&mounts, &folder).with_context(|| format!("no mount has {}", folder.display()))
    }

    /// Whether it is in memory.
    pub(super) fn is_memory(&self) -> bool {
        IN_MEMORY.contains(&self.kind.as_str())
    }
}

impl fmt::Display for Disk {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} on {}", self.kind, self.device)
    }
}

/// The innermost mount. Among mounts with the same path, the last one hides the others.
fn find(mounts: &str, folder: &Path) -> Option<Disk> {
    let around = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ');
        let (device, path, kind) = (words.next()?, words.next()?, words.next()?);
        folder
            .starts_with(path)
            .then(|| (path.len(), Disk { kind: kind.to_owned(), device: device.to_owned() }))
    });
    around.max_by_key(|(length, _)| *length).map(|(_, disk)| disk)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_and_last_mount_counts() {
        let mounts = "\
/dev/a / ext4 rw 0 0
tmpfs /tmp tmpfs rw 0 0
/dev/b /tmp/disk ext4 rw 0 0
/dev/c /tmp/disk xfs rw 0 0
";
        let cases = [
            ("/home", "ext4 on /dev/a", false),
            ("/tmp/x", "tmpfs on tmpfs", true),
            ("/tmp/disk/x", "xfs on /dev/c", false),
            ("/tmp/disks", "tmpfs on tmpfs", true),
        ];
        for (folder, expected, is_memory) in cases {
            let disk = find(mounts, Path::new(folder)).expect("the root is mounted");
            assert_eq!((disk.to_string().as_str(), disk.is_memory()), (expected, is_memory), "{folder}");
        }
        assert_eq!(find("", Path::new("/")), None);
    }
}
