//! Keeps a node's files in memory, and hides its changes from the host.

use std::ffi::CString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use rustix::mount::{MountFlags, mount, mount_bind};

use super::{Site, network};

/// Folders where kubelet and the network plugins use hard-coded paths.
const OVERLAID: [&str; 2] = ["/var/lib", "/var/log"];

/// The kernel settings that kubelet wants. Kubelet would change settings that differ, so it gets these fake files.
const KERNEL_SETTINGS: [(&str, &str); 6] = [
    ("vm/overcommit_memory", "1"),
    ("vm/panic_on_oom", "0"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    ("kernel/keys/root_maxkeys", "1000000"),
    ("kernel/keys/root_maxbytes", "25000000"),
];

const RESOLVER: &str = "/etc/resolv.conf";

/// Prepares the mount namespace that this process is in.
pub(super) fn prepare(site: &Site) -> Result<()> {
    // This may be a link into /run, which is about to be hidden.
    let resolver = fs::canonicalize(RESOLVER);
    memory(site.folder(), c"mode=0700")?;
    // Hides the sockets and locks of the host, including those of systemd.
    memory(Path::new("/run"), c"mode=0755")?;
    for folder in OVERLAID {
        overlay(site, folder)?;
    }
    let shown = site.subfolder("kernel-settings")?;
    for (name, value) in KERNEL_SETTINGS {
        let file = shown.join(name.replace('/', "-"));
        fs::write(&file, format!("{value}\n")).with_context(|| format!("cannot write {}", file.display()))?;
        bind(&file, &Path::new("/proc/sys").join(name))?;
    }
    resolver.map_or(Ok(()), |path| resolve_services(site, &path))
}

fn memory(target: &Path, options: &std::ffi::CStr) -> Result<()> {
    mount("tmpfs", target, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, options)
        .with_context(|| format!("cannot mount memory on {}", target.display()))
}

fn bind(source: &Path, target: &Path) -> Result<()> {
    mount_bind(source, target).with_context(|| format!("cannot mount on {}", target.display()))
}

/// Keeps writes to `folder` in memory; its files stay readable.
fn overlay(site: &Site, folder: &str) -> Result<()> {
    let layer = |kind: &str| -> Result<PathBuf> { site.subfolder(&format!("overlay{folder}/{kind}")) };
    let (upper, work) = (layer("upper")?, layer("work")?);
    let options = format!("lowerdir={folder},upperdir={},workdir={}", upper.display(), work.display());
    let options = CString::new(options).context("a path contains a zero byte")?;
    mount("overlay", folder, "overlay", MountFlags::empty(), options.as_c_str())
        .with_context(|| format!("cannot mount an overlay on {folder}"))
}

/// Makes Service names resolve for programs on the node, too.
fn resolve_services(site: &Site, path: &Path) -> Result<()> {
    let text = format!("nameserver {}\nsearch svc.cluster.local cluster.local\n", network::NODE_ADDRESS);
    let file = site.write("resolv.conf", &text)?;
    if path.exists() {
        return bind(&file, path);
    }
    // The file was in the hidden /run.
    let folder = path.parent().context("a file has a folder")?;
    fs::create_dir_all(folder)
        .and_then(|()| fs::copy(&file, path))
        .map(drop)
        .with_context(|| format!("cannot write {}", path.display()))
}
