//! Finds the project's root and the binaries that cargo built.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

/// The root of the project: the folder of `cluster/`, `proto/` and the workspace's `Cargo.toml`.
///
/// Searched upwards from the current directory, so a moved checkout works. Falls back to the checkout that this crate
/// was compiled in.
pub fn root() -> Result<PathBuf> {
    let here = env::current_dir().context("the current directory is not readable")?;
    let compiled_in = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors()
        .chain(compiled_in.ancestors())
        .find(|dir| dir.join("cluster/etcd/go.mod").is_file())
        .map(Path::to_path_buf)
        .context("not inside a checkout of Replica Count Manager: no folder above has cluster/etcd/go.mod")
}

/// The binary `name` that cargo built beside the running program, which may be a binary or a test.
///
/// # Errors
/// Names the `cargo build` command for `package` if it is missing.
pub fn built_binary(name: &str, package: &str) -> Result<PathBuf> {
    let program = env::current_exe().context("the path of the running program is unknown")?;
    // target/debug/testbed, or target/debug/deps/some_test-0123456789abcdef
    let candidates = program.ancestors().skip(1).take(2).map(|dir| dir.join(name));
    for candidate in candidates {
        if candidate.is_file() {
            return Ok(candidate);
        }
    }
    bail!("{name} is not built beside {}: run `cargo build -p {package}`", program.display())
}
