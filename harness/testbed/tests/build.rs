//! Builds programs into the cache, with a fake Go to save time.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, process, thread};

/// Its `build` records that it runs, and waits for a file named `proceed` before it writes its output.
const GO: &str = r#"#!/bin/sh
case "$1" in
  version) echo 'go version go1.26.0 linux/amd64' ;;
  list) printf 'a\nb\nc\n' ;;
  build)
    echo built >> "$FIXTURE/builds"
    [ -e "$FIXTURE/fail" ] && { echo 'dial tcp: no such host' >&2; exit 1; }
    while [ -d "$FIXTURE" ] && [ ! -e "$FIXTURE/proceed" ]; do sleep 0.02; done
    while [ "$1" != -o ]; do shift; done
    echo program > "$2"
    ;;
esac
"#;

/// A cache and a fake Go.
struct Fixture {
    folder: PathBuf,
}

impl Fixture {
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

    /// How many times `go build` ran.
    fn builds(&self) -> usize {
        fs::read_to_string(self.folder.join("builds")).unwrap_or_default().lines().count()
    }

    /// Starts to build one program, with its log in a file.
    fn build(&self, name: &str) -> Build {
        let log = self.folder.join(name);
        let child = Command::new(env!("CARGO_BIN_EXE_testbed"))
            .args(["build", "--what", "grpcurl"])
            .env("PATH", format!("{}:/usr/bin:/bin", self.folder.join("bin").display()))
            .env("XDG_CACHE_HOME", self.folder.join("cache"))
            .env("FIXTURE", &self.folder)
            .env_remove("KUBEBUILDER_ASSETS")
            .env_remove("KUBERNETES")
            .stdout(Stdio::piped())
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Build { child, log }
    }

    /// The files in the cache of the only module.
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

impl Drop for Fixture {
    fn drop(&mut self) {
        // A fake Go that still waits ends when its folder is gone.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

struct Build {
    child: Child,
    log: PathBuf,
}

impl Build {
    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Checks the path that it printed, and returns its output.
    fn finish(self) -> Output {
        let output = self.child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", fs::read_to_string(&self.log).unwrap());
        let path = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        assert_eq!(fs::read_to_string(Path::new(&path)).unwrap(), "program\n");
        output
    }
}

fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "timed out: {what}");
        thread::park_timeout(Duration::from_millis(20));
    }
}

#[test]
fn two_builds_at_once_build_once() {
    let fixture = Fixture::new("race");
    let first = fixture.build("first");
    eventually("the first build runs", || fixture.builds() == 1);
    let second = fixture.build("second");
    eventually("the second one waits", || second.log().contains("waiting for another build"));
    fixture.touch("proceed");
    assert_eq!(first.finish().stdout, second.finish().stdout);
    assert_eq!(fixture.builds(), 1);
    assert_eq!(fixture.cached(), ["grpcurl", "lock"]);
}

#[test]
fn an_interrupted_build_leaves_nothing_that_looks_finished() {
    let fixture = Fixture::new("interrupted");
    let mut first = fixture.build("first");
    eventually("the first build runs", || fixture.builds() == 1);
    first.child.kill().unwrap();
    first.child.wait().unwrap();
    assert_eq!(fixture.cached(), ["lock"]);
    fixture.touch("proceed");
    fixture.build("second").finish();
    assert_eq!(fixture.builds(), 2);
}

#[test]
fn a_failed_build_prints_the_reason_and_a_remedy() {
    let fixture = Fixture::new("failed");
    fixture.touch("fail");
    let mut build = fixture.build("first");
    assert!(!build.child.wait().unwrap().success());
    let log = build.log();
    assert!(log.contains("no such host") && log.contains("check the network"), "{log}");
}

#[test]
fn without_go_the_error_explains_how_to_install_it() {
    let fixture = Fixture::new("no-go");
    fs::remove_file(fixture.folder.join("bin/go")).unwrap();
    // If Go is installed in a folder that is still on PATH, this cannot be tested.
    if ["/usr/bin/go", "/bin/go"].iter().any(|go| Path::new(go).exists()) {
        return;
    }
    let mut build = fixture.build("first");
    assert!(!build.child.wait().unwrap().success());
    assert!(build.log().contains("install Go 1.26.0 or newer"), "{}", build.log());
}
