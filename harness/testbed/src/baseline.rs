//! The server of an earlier commit, for the benchmarks to compare with. It is built once, from a clean clone, and kept.
//!
//! The program depends on the commit and the profile alone: the toolchain that the commit pins builds it, and compiler
//! flags in the environment do not apply to it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;
use std::{env, fs};

use anyhow::{Context as _, Result, bail};

use crate::progress::Progress;
use crate::scratch::Scratch;
use crate::{cache, parent_death, workspace};

/// The package of the server, and its binary: the same in all commits.
const NAME: &str = "replica-count-manager";

/// Variables that would make git work on another repository. Git sets them for its hooks.
const REPOSITORY: [&str; 6] =
    ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY", "GIT_NAMESPACE"];

/// Variables that would make cargo build another program.
const COMPILER: [&str; 7] = [
    "RUSTC",
    "RUSTFLAGS",
    "RUSTUP_TOOLCHAIN",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_BUILD_RUSTC",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
];

/// How the names of more of them begin.
const COMPILER_PREFIXES: [&str; 2] = ["CARGO_PROFILE_", "CARGO_TARGET_"];

/// How the server is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Optimized.
    Release,
    /// Unoptimized, which takes less time to build.
    Debug,
}

impl Profile {
    /// Its folder, in that of cargo and in the cache.
    fn folder(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Debug => "debug",
        }
    }

    fn flag(self) -> Option<&'static str> {
        match self {
            Self::Release => Some("--release"),
            Self::Debug => None,
        }
    }
}

/// A commit of the server.
#[derive(Debug)]
pub struct Baseline {
    repository: PathBuf,
    commit: String,
    /// Where the servers of all commits are kept.
    cache: PathBuf,
    cargo: PathBuf,
}

impl Baseline {
    /// The commit that `revision` names in this checkout.
    ///
    /// # Errors
    /// There is none.
    pub fn find(revision: &str) -> Result<Self> {
        Self::new(workspace::root()?, revision, cache::root()?.join("baseline"), "cargo".into())
    }

    fn new(repository: PathBuf, revision: &str, cache: PathBuf, cargo: PathBuf) -> Result<Self> {
        let object = format!("{revision}^{{commit}}");
        let commit = git(&repository, &["rev-parse", "--verify", "--end-of-options", &object]);
        let commit = commit.with_context(|| {
            format!("{revision:?} names no commit of {}: fetch it, or name another", repository.display())
        })?;
        Ok(Self { repository, commit, cache, cargo })
    }

    /// The full hash of the commit.
    pub fn commit(&self) -> &str {
        &self.commit
    }

    /// The path of the server, which is built first if need be. That takes minutes and blocks; progress goes to stderr.
    ///
    /// # Errors
    /// Says what failed and what to do.
    pub fn ensure(&self, profile: Profile) -> Result<PathBuf> {
        // The platform is part of the path because home folders are shared between machines.
        let platform = format!("{}-{}", env::consts::ARCH, env::consts::OS);
        let folder = self.cache.join(&self.commit).join(platform).join(profile.folder());
        cache::ensure(&folder, NAME, |unfinished| self.build(profile, unfinished))
    }

    fn build(&self, profile: Profile, output: &Path) -> Result<()> {
        let Self { commit, cache, .. } = self;
        let started = Instant::now();
        let progress =
            Progress::new(format!("building the server of {commit} (once; kept in {})", cache.display()));
        // Removes what an interrupted build has left.
        let scratch = Scratch::new_in(cache)?;
        let [source, target] = ["source", "target"].map(|name| scratch.path().join(name));
        self.clone_into(&source).with_context(|| format!("cannot clone {commit}"))?;
        let mut cargo = self.cargo_build(profile)?;
        cargo.arg("--target-dir").arg(&target).current_dir(&source);
        let status =
            parent_death::spawn(cargo).and_then(|mut child| child.wait()).context("cannot run `cargo`")?;
        if !status.success() {
            bail!(
                "the server of {commit} cannot be built ({status}), as cargo says above. If it does not compile, name \
                 another commit; if something cannot be downloaded, check the network; if the disk is full, make room \
                 for 2 GB in {}",
                cache.display()
            );
        }
        let built = target.join(profile.folder()).join(NAME);
        fs::rename(&built, output).with_context(|| format!("cargo has built no {}", built.display()))?;
        progress.done(&format!("built the server of {commit} in {:.0} s", started.elapsed().as_secs_f64()));
        Ok(())
    }

    /// Not with `git clone`, which brings only commits that a branch or a tag leads to.
    fn clone_into(&self, folder: &Path) -> Result<()> {
        fs::create_dir(folder)?;
        let repository = self.repository.to_str().context("the path of this checkout is no UTF-8")?;
        // A template could bring hooks along.
        git(folder, &["init", "--quiet", "--template="])?;
        git(folder, &["fetch", "--quiet", "--no-tags", "--depth=1", repository, &self.commit])?;
        git(folder, &["checkout", "--quiet", "--detach", &self.commit])?;
        Ok(())
    }

    /// In the foreground, so that Ctrl-C ends it too.
    fn cargo_build(&self, profile: Profile) -> Result<Command> {
        let testbed = workspace::built_binary("testbed", "replica-count-testbed")?;
        let mut cargo = parent_death::foreground_command(&testbed, &self.cargo);
        cargo.args(["build", "--locked", "-p", NAME]).args(profile.flag()).stdin(Stdio::null());
        for (name, _) in env::vars_os().filter(|(name, _)| name.to_str().is_some_and(is_for_compiler)) {
            cargo.env_remove(name);
        }
        Ok(cargo)
    }
}

fn is_for_compiler(variable: &str) -> bool {
    COMPILER.contains(&variable) || COMPILER_PREFIXES.iter().any(|prefix| variable.starts_with(prefix))
}

/// What git answers in a folder.
fn git(folder: &Path, arguments: &[&str]) -> Result<String> {
    let mut git = Command::new("git");
    for variable in REPOSITORY {
        git.env_remove(variable);
    }
    let output = git.arg("-C").arg(folder).args(arguments).output().context("cannot run `git`")?;
    if !output.status.success() {
        bail!("`git {}` failed: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests;
