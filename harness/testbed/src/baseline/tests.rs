//! With a stand-in for cargo, so that it takes no minutes.

use std::os::unix::fs::PermissionsExt as _;
use std::thread;

use tempfile::TempDir;

use super::*;

/// "Builds" what a file of the sources holds. It notes that it runs, and is slow and fails on request.
const CARGO: &str = r#"#!/bin/sh
cd_of_clone=$PWD
echo "$RUSTUP_TOOLCHAIN$*" >> STAGE/builds
profile=debug
while [ "$1" != --target-dir ]; do
  [ "$1" = --release ] && profile=release
  shift
done
mkdir -p "$2/$profile"
cat "$cd_of_clone/text" > "$2/$profile/replica-count-manager"
[ -e STAGE/slow ] && sleep 0.2
[ ! -e STAGE/fail ]
"#;

/// A repository with two commits, `one` and `two`.
struct Stage(TempDir);

impl Stage {
    fn new() -> Self {
        let this = Self(tempfile::tempdir().unwrap());
        let repository = this.path("repository");
        fs::create_dir(&repository).unwrap();
        git(&repository, &["init", "--quiet"]).unwrap();
        for text in ["one", "two"] {
            this.commit(text);
        }
        let cargo = this.path("cargo");
        fs::write(&cargo, CARGO.replace("STAGE", this.0.path().to_str().unwrap())).unwrap();
        fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();
        this
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn commit(&self, text: &str) {
        let repository = self.path("repository");
        fs::write(repository.join("text"), text).unwrap();
        git(&repository, &["add", "text"]).unwrap();
        let author =
            ["-c", "user.name=author", "-c", "user.email=author@example.com", "-c", "commit.gpgsign=false"];
        git(&repository, &[&author[..], &["commit", "--quiet", "-m", text]].concat()).unwrap();
    }

    fn find(&self, revision: &str) -> Result<Baseline> {
        Baseline::new(self.path("repository"), revision, self.path("cache"), self.path("cargo"))
    }

    fn ensure(&self, revision: &str, profile: Profile) -> Result<PathBuf> {
        self.find(revision)?.ensure(profile)
    }

    fn builds(&self) -> Vec<String> {
        let builds = fs::read_to_string(self.path("builds")).unwrap_or_default();
        builds.lines().map(str::to_owned).collect()
    }

    /// The names of the files in the cache, without locks.
    fn cached(&self) -> Vec<String> {
        let mut files = Vec::new();
        let mut folders = vec![self.path("cache")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let entry = entry.unwrap();
                if entry.file_type().unwrap().is_dir() {
                    folders.push(entry.path());
                } else if entry.file_name() != "lock" {
                    files.push(entry.file_name().into_string().unwrap());
                }
            }
        }
        files
    }
}

#[test]
fn the_commit_is_built_and_nothing_else_that_lies_there() {
    let stage = Stage::new();
    let repository = stage.path("repository");
    stage.commit("three");
    let three = git(&repository, &["rev-parse", "HEAD"]).unwrap();
    // No branch leads to it any more.
    git(&repository, &["reset", "--quiet", "--hard", "HEAD~1"]).unwrap();
    fs::write(repository.join("text"), "in no commit").unwrap();
    for (revision, expected) in [("HEAD~1", "one"), ("HEAD", "two"), (three.as_str(), "three")] {
        let server = stage.ensure(revision, Profile::Debug).unwrap();
        assert_eq!(fs::read_to_string(server).unwrap(), expected, "{revision}");
    }
}

#[test]
fn each_commit_and_profile_is_built_once() {
    let stage = Stage::new();
    fs::write(stage.path("slow"), "").unwrap();
    let build = || ["HEAD", "HEAD"].map(|revision| stage.ensure(revision, Profile::Release).unwrap());
    let [here, there] =
        thread::scope(|scope| [scope.spawn(build), scope.spawn(build)].map(|thread| thread.join().unwrap()));
    assert_eq!(here, there);
    assert_eq!(stage.builds().len(), 1);
    assert_ne!(stage.ensure("HEAD", Profile::Debug).unwrap(), here[0]);
    assert_ne!(stage.ensure("HEAD~1", Profile::Release).unwrap(), here[0]);
    assert_eq!(stage.builds().len(), 3);
    assert_eq!(stage.cached(), [NAME; 3]);
}

#[test]
fn cargo_is_told_what_to_build_and_no_toolchain() {
    let stage = Stage::new();
    for (profile, expected) in [
        (Profile::Release, "build --locked -p replica-count-manager --release --target-dir "),
        (Profile::Debug, "build --locked -p replica-count-manager --target-dir "),
    ] {
        stage.ensure("HEAD", profile).unwrap();
        let builds = stage.builds();
        assert!(builds.last().unwrap().starts_with(expected), "{builds:?}");
    }
    for (variable, expected) in [
        ("RUSTFLAGS", true),
        ("CARGO_PROFILE_RELEASE_LTO", true),
        ("CARGO_TARGET_DIR", true),
        ("CARGO_BUILD_JOBS", false),
        ("CARGO_HOME", false),
        ("PATH", false),
    ] {
        assert_eq!(is_for_compiler(variable), expected, "{variable}");
    }
}

#[test]
fn a_failed_build_says_what_to_do_and_leaves_nothing_that_looks_finished() {
    let stage = Stage::new();
    fs::write(stage.path("fail"), "").unwrap();
    let error = format!("{:#}", stage.ensure("HEAD", Profile::Debug).unwrap_err());
    assert!(
        error.contains(stage.find("HEAD").unwrap().commit()) && error.contains("name another commit"),
        "{error}"
    );
    assert_eq!(stage.cached(), [""; 0]);
    fs::remove_file(stage.path("fail")).unwrap();
    stage.ensure("HEAD", Profile::Debug).unwrap();
    assert_eq!(stage.builds().len(), 2);
}

#[test]
fn what_is_no_commit_is_refused_before_anything_is_built() {
    let stage = Stage::new();
    for revision in ["nonsense", "HEAD~7", "HEAD:text", "", "--all"] {
        let error = format!("{:#}", stage.find(revision).unwrap_err());
        assert!(error.contains(&format!("{revision:?} names no commit of ")), "{error}");
    }
}
