//! Runs the Go toolchain.

use std::io;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use super::Program;
use super::module::{Module, package};

/// `go build`, which prints each package it compiles to stderr.
pub(super) fn build(module: &Module, program: Program, output: &std::path::Path) -> Command {
    let mut command = go(module);
    command
        .args(["build", "-v", "-trimpath", "-ldflags", &module.ldflags, "-o"])
        .arg(output)
        .arg(package(program));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// The number of packages in `program`. Downloads the sources if necessary.
///
/// `None` on failure; `go build` will then print a better error.
pub(super) fn count_packages(module: &Module, program: Program) -> Option<usize> {
    let output = go(module).args(["list", "-deps", package(program)]).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| output.stdout.split(|byte| *byte == b'\n').count())
}

/// Fails with a remedy if Go is not installed.
pub(super) fn check(module: &Module, program: Program) -> Result<()> {
    match go(module).arg("version").output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => bail!("`go version` failed: {}", String::from_utf8_lossy(&output.stderr).trim()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => bail!(
            "{name} has to be built, and there is no `go` on PATH: install Go {version} or newer \
             (https://go.dev/dl; from 1.21 on, Go fetches the version it needs by itself), or point \
             KUBEBUILDER_ASSETS at a folder that has {name}",
            name = program.name(),
            version = module.go_version()?,
        ),
        Err(error) => Err(error).context("cannot run `go`"),
    }
}

/// A remedy for a build that failed with this output.
pub(super) fn remedy(output: &str) -> &'static str {
    let offline =
        ["dial tcp", "no such host", "i/o timeout", "connection refused", "proxyconnect", "TLS handshake"];
    if offline.iter().any(|sign| output.contains(sign)) {
        "the sources could not be downloaded: check the network, and GOPROXY if you use a mirror"
    } else if output.contains("no space left on device") {
        "the disk is full: a build needs about 5 GB in GOCACHE, GOMODCACHE and the temporary folder"
    } else if output.contains("GOTOOLCHAIN=local") {
        "this Go is too old and may not fetch a newer one: set GOTOOLCHAIN=auto or install it from https://go.dev/dl"
    } else if output.contains("signal: killed") {
        "the compiler was killed, most likely for lack of memory: 4 GB are enough"
    } else {
        "the output of Go is above"
    }
}

fn go(module: &Module) -> Command {
    let mut command = Command::new("go");
    // Ignores the user's workspace file and vendoring, which are meant for other projects.
    command.current_dir(&module.dir).env("GOWORK", "off").env("GOFLAGS", "-mod=readonly");
    command
}
