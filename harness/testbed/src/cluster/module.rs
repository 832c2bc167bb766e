//! The Go modules under `cluster/` and that of the benchmarks: which programs they build, with which flags, into which
//! folder.

use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::{Context as _, Result, bail};

use super::Program;
use crate::{cache, digest, workspace};

/// The default for `KUBERNETES`.
const DEFAULT_KUBERNETES: &str = "1.36";

/// A minor version of Kubernetes with a module in `cluster/`, for example `1.36`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KubernetesMinor(String);

impl KubernetesMinor {
    /// The minor that `KUBERNETES` names.
    pub(super) fn from_env() -> Result<Self> {
        match env::var("KUBERNETES") {
            Ok(minor) if !minor.is_empty() => Self::parse(&minor, &workspace::root()?.join("cluster")),
            _ => Ok(Self(DEFAULT_KUBERNETES.to_owned())),
        }
    }

    fn parse(minor: &str, cluster: &Path) -> Result<Self> {
        let available = available(cluster)?;
        if available.iter().any(|known| known == minor) {
            return Ok(Self(minor.to_owned()));
        }
        bail!("KUBERNETES={minor} is not available; choose one of {}", available.join(", "))
    }
}

impl fmt::Display for KubernetesMinor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The folders of `cluster/` named after a minor version, sorted.
fn available(cluster: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(cluster).with_context(|| format!("cannot list {}", cluster.display()))?;
    let mut minors: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with(|first: char| first.is_ascii_digit()))
        .collect();
    minors.sort();
    Ok(minors)
}

/// A Go module and the folder of its built programs.
#[derive(Debug)]
pub(super) struct Module {
    /// The folder of `go.mod`.
    pub(super) dir: PathBuf,
    /// The value of `-ldflags`.
    pub(super) ldflags: String,
    /// Where the built programs are kept. Its name is a digest of all inputs of the build.
    pub(super) cache: PathBuf,
}

impl Module {
    /// The module that `program` is built from.
    pub(super) fn of(program: Program, kubernetes: &KubernetesMinor) -> Result<Self> {
        let (root, cache_root) = (workspace::root()?, cache::root()?.join("cluster"));
        let name = match program {
            Program::Peer => return Self::read("peer", root.join("harness/bench/peer"), &cache_root),
            Program::Etcd => "etcd",
            Program::Grpcurl => "grpcurl",
            Program::CoreDns => "coredns",
            Program::ApiServer
            | Program::ControllerManager
            | Program::Kubectl
            | Program::Scheduler
            | Program::Kubelet
            | Program::Proxy => kubernetes.0.as_str(),
        };
        Self::read(name, root.join("cluster").join(name), &cache_root)
    }

    fn read(name: &str, dir: PathBuf, cache_root: &Path) -> Result<Self> {
        let go_mod = read(&dir.join("go.mod"))?;
        let go_sum = read(&dir.join("go.sum"))?;
        let ldflags = ldflags(&go_mod);
        // The platform is part of the key because machines may share home folders.
        let mut key = [go_mod.as_str(), &go_sum, &ldflags, env::consts::OS, env::consts::ARCH].join("\0");
        // Most modules have no sources of their own; they only pin dependencies.
        for source in sources(&dir)? {
            key.push_str(&read(&source)?);
        }
        let cache = cache_root.join(format!("{name}-{}", digest::short(&key)));
        Ok(Self { dir, ldflags, cache })
    }

    /// The version of Go that `go.mod` requires, for messages.
    pub(super) fn go_version(&self) -> Result<String> {
        let go_mod = read(&self.dir.join("go.mod"))?;
        let version = go_mod.lines().find_map(|line| line.strip_prefix("go "));
        Ok(version.context("go.mod names no version of Go")?.to_owned())
    }
}

/// The package that `go build` builds for `program`.
pub(super) fn package(program: Program) -> &'static str {
    match program {
        Program::Etcd => "go.etcd.io/etcd/server/v3",
        Program::ApiServer => "k8s.io/kubernetes/cmd/kube-apiserver",
        Program::ControllerManager => "k8s.io/kubernetes/cmd/kube-controller-manager",
        Program::Kubectl => "k8s.io/kubernetes/cmd/kubectl",
        Program::Grpcurl => "github.com/fullstorydev/grpcurl/cmd/grpcurl",
        Program::Scheduler => "k8s.io/kubernetes/cmd/kube-scheduler",
        Program::Kubelet => "k8s.io/kubernetes/cmd/kubelet",
        Program::Proxy => "k8s.io/kubernetes/cmd/kube-proxy",
        Program::CoreDns => "replicacount.dev/cluster/coredns",
        Program::Peer => "replicacount.dev/bench/peer",
    }
}

/// The Go files in a folder and its subfolders, sorted.
fn sources(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut sources = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            sources.append(&mut self::sources(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "go") {
            sources.push(path);
        }
    }
    sources.sort();
    Ok(sources)
}

/// Strips the binary and sets the version of Kubernetes, which would otherwise report `v0.0.0-master`.
fn ldflags(go_mod: &str) -> String {
    let mut flags = "-s -w".to_owned();
    let version =
        go_mod.lines().find_map(|line| line.trim().strip_prefix("k8s.io/kubernetes ")?.split(' ').next());
    if let Some(version) = version {
        let mut numbers = version.trim_start_matches('v').split('.');
        let values =
            [("gitVersion", Some(version)), ("gitMajor", numbers.next()), ("gitMinor", numbers.next())];
        for (variable, value) in values {
            if let Some(value) = value {
                // Writing to a String cannot fail.
                let _ = write!(flags, " -X k8s.io/component-base/version.{variable}={value}");
            }
        }
    }
    flags
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GO_MOD: &str = "module m\n\ngo 1.26.0\n\nrequire (\n\tk8s.io/kubernetes v1.36.3 // indirect\n)\n";

    #[test]
    fn kubernetes_gets_its_version() {
        let version = "k8s.io/component-base/version";
        assert_eq!(
            ldflags(GO_MOD),
            format!("-s -w -X {version}.gitVersion=v1.36.3 -X {version}.gitMajor=1 -X {version}.gitMinor=36")
        );
        assert_eq!(ldflags("module m\n\ngo 1.26.0\n"), "-s -w");
    }

    #[test]
    fn an_unknown_minor_lists_the_available_ones() {
        let cluster = workspace::root().unwrap().join("cluster");
        let error = KubernetesMinor::parse("1.20", &cluster).unwrap_err().to_string();
        assert_eq!(error, "KUBERNETES=1.20 is not available; choose one of 1.33, 1.36");
        assert_eq!(KubernetesMinor::parse("1.33", &cluster).unwrap().to_string(), "1.33");
    }

    #[test]
    fn every_go_file_of_a_module_counts() {
        let folder = tempfile::tempdir().unwrap();
        let module = |sources: &[(&str, &str)]| {
            let dir = tempfile::tempdir_in(&folder).unwrap();
            for (path, text) in [("go.mod", ""), ("go.sum", ""), ("README.md", "words")].iter().chain(sources)
            {
                let path = dir.path().join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            Module::read("m", dir.path().to_owned(), Path::new("/cache")).unwrap().cache
        };
        let both = module(&[("main.go", "a"), ("internal/part/part.go", "b")]);
        assert_eq!(both, module(&[("main.go", "a"), ("internal/part/part.go", "b"), ("other.txt", "c")]));
        assert_ne!(both, module(&[("main.go", "a"), ("internal/part/part.go", "changed")]));
        assert_ne!(both, module(&[("main.go", "changed"), ("internal/part/part.go", "b")]));
        assert_ne!(both, module(&[]));
    }

    #[test]
    fn a_change_of_one_module_keeps_the_others_cached() {
        let cluster = workspace::root().unwrap().join("cluster");
        let cache = |name: &str| Module::read(name, cluster.join(name), Path::new("/cache")).unwrap().cache;
        assert_eq!(cache("etcd"), cache("etcd"));
        assert_ne!(cache("etcd"), cache("grpcurl"));
        assert_ne!(digest::short("one go.sum"), digest::short("another go.sum"));
    }
}
