//! Building programs into the cache, with a stand-in for Go so that it takes no minutes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, process, thread};

/// `go build` notes that it runs and waits for leave before it writes its output.
const GO: &str = r#"#!/bin/sh
case "$1" in
  version) echo 'go version go1.26.0 linux/amd64' ;;
  list) printf 'a\nb\nc\n' ;;
  build)
    echo built >> "$STAGE/builds"
    [ -e "$STAGE/fail" ] && { echo 'dial tcp: no such host' >&2; exit 1; }
    while [ -d "$STAGE" ] && [ ! -e "$STAGE/leave" ]; do sleep 0.02; done
    while [ "$1" != -o ]; do shift; done
    echo program > "$2"
    ;;
esac
"#;

/// A cache, and a Go to fill it with.
struct Stage {
    folder: PathBuf,
}

impl Stage {
    fn new(name: &str) -> Self {
        let folder = env::temp_dir().join(format!("testbed-{name}-{}", process::id()));
        fs::create_dir_all(folder.join("bin")).unwrap();
        let go = folder.join("bin/go");
        fs::write(&go, GO).unwrap();
        fs::set_permissions(&go, fs::Permissions::from_mode(0o755)).unwrap();
        Self { folder }
    }

    fn touch(&self, name: &str) {
        fs::write(self.folder.join(name), "").unwrap();
    }

    /// How often `go build` was run.
    fn builds(&self) -> usize {
        fs::read_to_string(self.folder.join("builds")).unwrap_or_default().lines().count()
    }

    /// Starts to build one program; what it says goes to a file.
    fn build(&self, name: &str) -> Build {
        let said = self.folder.join(name);
        let child = Command::new(env!("CARGO_BIN_EXE_testbed"))
            .args(["build", "--what", "grpcurl"])
            .env("PATH", format!("{}:/usr/bin:/bin", self.folder.join("bin").display()))
            .env("XDG_CACHE_HOME", self.folder.join("cache"))
            .env("STAGE", &self.folder)
            .env_remove("KUBEBUILDER_ASSETS")
            .env_remove("KUBERNETES")
            .stdout(Stdio::piped())
            .stderr(fs::File::create(&said).unwrap())
            .spawn()
            .unwrap();
        Build { child, said }
    }

    /// The files in the cache of the one module that is built.
    fn cached(&self) -> Vec<String> {
        let modules = self.folder.join("cache/replica-count-manager/cluster");
        let module = fs::read_dir(modules).unwrap().next().unwrap().unwrap().path();
        let mut names: Vec<String> = fs::read_dir(module)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // A stand-in that still waits ends with its folder.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

struct Build {
    child: Child,
    said: PathBuf,
}

impl Build {
    fn said(&self) -> String {
        fs::read_to_string(&self.said).unwrap()
    }

    /// Its output, with the path it printed checked.
    fn finish(self) -> Output {
        let output = self.child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", fs::read_to_string(&self.said).unwrap());
        let path = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        assert_eq!(fs::read_to_string(Path::new(&path)).unwrap(), "program\n");
        output
    }
}

fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        thread::park_timeout(Duration::from_millis(20));
    }
}

#[test]
fn two_builds_at_once_build_once() {
    let stage = Stage::new("race");
    let first = stage.build("first");
    eventually("the first build runs", || stage.builds() == 1);
    let second = stage.build("second");
    eventually("the second one waits", || second.said().contains("waiting for another build"));
    stage.touch("leave");
    assert_eq!(first.finish().stdout, second.finish().stdout);
    assert_eq!(stage.builds(), 1);
    assert_eq!(stage.cached(), ["grpcurl", "lock"]);
}

#[test]
fn an_interrupted_build_leaves_nothing_that_looks_finished() {
    let stage = Stage::new("interrupted");
    let mut first = stage.build("first");
    eventually("the first build runs", || stage.builds() == 1);
    first.child.kill().unwrap();
    first.child.wait().unwrap();
    assert_eq!(stage.cached(), ["lock"]);
    stage.touch("leave");
    stage.build("second").finish();
    assert_eq!(stage.builds(), 2);
}

#[test]
fn a_failed_build_says_why_and_what_to_do() {
    let stage = Stage::new("failed");
    stage.touch("fail");
    let mut build = stage.build("first");
    assert!(!build.child.wait().unwrap().success());
    let said = build.said();
    assert!(said.contains("no such host") && said.contains("check the network"), "{said}");
}

#[test]
fn without_go_the_error_says_how_to_get_it() {
    let stage = Stage::new("no-go");
    fs::remove_file(stage.folder.join("bin/go")).unwrap();
    // Go may be installed in the folders that are left on PATH; then there is nothing to see.
    if ["/usr/bin/go", "/bin/go"].iter().any(|go| Path::new(go).exists()) {
        return;
    }
    let mut build = stage.build("first");
    assert!(!build.child.wait().unwrap().success());
    assert!(build.said().contains("install Go 1.26.0 or newer"), "{}", build.said());
}
