//! The parent cgroups of the pods: one with the same name in each hierarchy of the host.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::fs::{Access, access};
use tokio::time::{self, Instant};

/// How long processes may take to die.
const DEADLINE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);

/// The controllers that a kubelet needs. Cgroups v1 has a hierarchy for each.
const CONTROLLERS: [&str; 5] = ["cpu", "cpuset", "hugetlb", "memory", "pids"];

/// The name of a node's cgroups: the name of its folder, which is unique.
pub(super) fn name(folder: &Path) -> Result<&str> {
    folder.file_name().and_then(|name| name.to_str()).context("the folder of a node has no name")
}

/// Fails if cgroups cannot be created, as in most containers.
pub(super) fn check_writable() -> Result<()> {
    let hierarchies = hierarchies()?;
    ensure!(!hierarchies.is_empty(), "a node needs cgroups, but none are mounted");
    for path in hierarchies {
        let context = || format!("a node needs cgroups, but {} is not writable", path.display());
        access(&path, Access::WRITE_OK).with_context(context)?;
    }
    Ok(())
}

/// Creates a cgroup with this name in each hierarchy.
pub(super) fn create(name: &str) -> Result<()> {
    for hierarchy in hierarchies()? {
        let path = hierarchy.join(name);
        enable_controllers(&hierarchy)
            .and_then(|()| fs::create_dir(&path))
            .with_context(|| format!("cannot create {}", path.display()))?;
    }
    Ok(())
}

/// Waits until the last process has left the cgroups with this name, and removes them and all below.
pub(super) async fn remove(name: &str) -> Result<()> {
    let deadline = Instant::now() + DEADLINE;
    for hierarchy in hierarchies()? {
        let path = hierarchy.join(name);
        while let Err(error) = remove_tree(&path) {
            if Instant::now() >= deadline {
                return Err(error).with_context(|| format!("cannot remove {}", path.display()));
            }
            time::sleep(POLL).await;
        }
    }
    Ok(())
}

/// The mount points of the hierarchies, of both versions.
fn hierarchies() -> Result<Vec<PathBuf>> {
    let mounts = fs::read_to_string("/proc/self/mounts").context("cannot read /proc/self/mounts")?;
    let hierarchy = |line: &str| {
        let mut fields = line.split(' ').skip(1);
        let (path, kind) = (fields.next()?, fields.next()?);
        (kind == "cgroup" || kind == "cgroup2").then(|| PathBuf::from(path))
    };
    Ok(mounts.lines().filter_map(hierarchy).collect())
}

/// In version 2, a parent cgroup must enable controllers for its children. Most hosts have enabled these already.
fn enable_controllers(hierarchy: &Path) -> io::Result<()> {
    let Ok(available) = fs::read_to_string(hierarchy.join("cgroup.controllers")) else { return Ok(()) };
    let enabled = hierarchy.join("cgroup.subtree_control");
    let is_wanted = |controller: &&str| CONTROLLERS.contains(controller);
    available
        .split_whitespace()
        .filter(is_wanted)
        .try_for_each(|controller| fs::write(&enabled, format!("+{controller}")))
}

/// Removing the folder of a cgroup removes its files.
fn remove_tree(path: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    fs::remove_dir(path)
}
