//! Checks what a node needs of the host. Installs nothing.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use anyhow::{Context as _, Result, bail, ensure};

use super::{cgroup, namespaces};

/// Folders of system programs, which may not be on PATH.
const SYSTEM_FOLDERS: &str = "/usr/local/sbin:/usr/sbin:/sbin";

/// Where packages install the CNI plugins.
const PLUGIN_FOLDERS: [&str; 2] = ["/usr/lib/cni", "/opt/cni/bin"];

/// Programs and their Debian packages.
const PROGRAMS: [(&str, &str); 7] = [
    ("containerd", "containerd"),
    ("ctr", "containerd"),
    ("runc", "runc"),
    ("iptables", "iptables"),
    ("ip", "iproute2"),
    ("busybox", "busybox-static"),
    ("unshare", "util-linux"),
];

/// Fails with a one-line error that names what is missing.
pub fn check() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("a node creates namespaces and cgroups: run this as root");
    }
    let mut missing: Vec<&str> =
        PROGRAMS.iter().filter(|(program, _)| find(program).is_none()).map(|(_, package)| *package).collect();
    if plugin_folder().is_err() {
        missing.push("containernetworking-plugins");
    }
    if find("busybox").is_some_and(|path| !is_static(&path)) {
        missing.push("busybox-static");
    }
    missing.dedup();
    if !missing.is_empty() {
        bail!("packages for a node are missing: apt-get install {}", missing.join(" "));
    }
    // Root in a container usually lacks this right.
    let mut probe = Command::new("unshare");
    probe.args(namespaces::FLAGS).arg("true").env("PATH", search_path()).stderr(Stdio::null());
    let status = probe.status().context("cannot run unshare")?;
    ensure!(status.success(), "a node needs its own namespaces, but this machine does not allow them");
    cgroup::check_writable()
}

/// The PATH of a node: the caller's, plus the folders of system programs.
pub(super) fn search_path() -> String {
    let path = env::var("PATH").unwrap_or_else(|_| "/usr/local/bin:/usr/bin:/bin".to_owned());
    format!("{path}:{SYSTEM_FOLDERS}")
}

/// The path of a program.
pub(super) fn find(name: &str) -> Option<PathBuf> {
    env::split_paths(&search_path()).map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// The folder of the CNI plugins.
pub(super) fn plugin_folder() -> Result<&'static str> {
    let has_plugin = |folder: &&&str| Path::new(folder).join("ptp").is_file();
    PLUGIN_FOLDERS.iter().find(has_plugin).copied().context("there are no CNI plugins")
}

/// Whether a program is statically linked. Dynamically linked ones name their loader near the start of the file.
fn is_static(program: &Path) -> bool {
    let bytes = fs::read(program).unwrap_or_default();
    let head = &bytes[..bytes.len().min(4096)];
    !head.windows(4).any(|part| part == b"/ld-")
}
