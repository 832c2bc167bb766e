//! The preloaded images of a node, built from this machine's busybox: one to hold the namespaces of a pod, one as a
//! workload for tests.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::{Site, containerd, requirements};
use crate::digest;

/// Holds the namespaces of a pod.
pub(super) const PAUSE: &str = "localhost/pause:1";

/// A workload: a shell and the usual commands.
const BUSYBOX: &str = "localhost/busybox:1";

/// Loads the images into containerd.
pub(super) fn load(site: &Site) -> Result<()> {
    let folder = site.subfolder("images")?;
    let archive = make_archive(&folder)?;
    run(Command::new("ctr")
        .args(["--address", containerd::SOCKET, "--namespace", containerd::NAMESPACE])
        .args(["images", "import"])
        .arg(archive))?;
    fs::remove_dir_all(&folder).context("cannot remove the files of the images")
}

/// Writes both images to one file, in the format of `docker save`. They share their only layer.
fn make_archive(folder: &Path) -> Result<PathBuf> {
    let root = folder.join("root");
    make_root(&root)?;
    let layer = folder.join("layer.tar");
    run(tar(&root, &layer).arg("."))?;
    let layer = format!("sha256:{}", digest::sha256(&fs::read(layer)?));
    let pause = json!({ "Entrypoint": ["/bin/sleep", "infinity"] });
    let busybox = json!({ "Cmd": ["/bin/sh"], "Env": ["PATH=/bin"] });
    let manifest = json!([
        { "Config": "pause.json", "RepoTags": [PAUSE], "Layers": ["layer.tar"] },
        { "Config": "busybox.json", "RepoTags": [BUSYBOX], "Layers": ["layer.tar"] },
    ]);
    fs::write(folder.join("pause.json"), image(&layer, &pause).to_string())?;
    fs::write(folder.join("busybox.json"), image(&layer, &busybox).to_string())?;
    fs::write(folder.join("manifest.json"), manifest.to_string())?;
    let archive = folder.join("images.tar");
    run(tar(folder, &archive).args(["manifest.json", "pause.json", "busybox.json", "layer.tar"]))?;
    Ok(archive)
}

fn tar(folder: &Path, archive: &Path) -> Command {
    let mut command = Command::new("tar");
    command.args(["--create", "--file"]).arg(archive).arg("--directory").arg(folder);
    command
}

/// Creates the file tree of the layer: busybox, and a link to it for each of its commands.
fn make_root(root: &Path) -> Result<()> {
    let busybox = requirements::find("busybox").context("there is no busybox")?;
    fs::create_dir_all(root.join("bin"))?;
    fs::create_dir(root.join("tmp"))?;
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777))?;
    fs::copy(&busybox, root.join("bin/busybox"))?;
    let commands = Command::new(&busybox).arg("--list").output().context("cannot run busybox")?;
    for command in String::from_utf8_lossy(&commands.stdout).lines().filter(|command| *command != "busybox") {
        symlink("busybox", root.join("bin").join(command))?;
    }
    Ok(())
}

/// The configuration of an image with one layer.
fn image(layer: &str, configuration: &Value) -> Value {
    let architecture = match env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    json!({
        "architecture": architecture,
        "os": "linux",
        "config": configuration,
        "rootfs": { "type": "layers", "diff_ids": [layer] },
    })
}

fn run(command: &mut Command) -> Result<()> {
    let name = command.get_program().display().to_string();
    let output = command.output().with_context(|| format!("cannot run {name}"))?;
    if !output.status.success() {
        bail!("{name} failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
