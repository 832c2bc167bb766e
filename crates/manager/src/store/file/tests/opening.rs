//! Opening: what is read, what is refused with which message, and what stays untouched.

use std::os::unix::fs::{PermissionsExt as _, symlink};

use rustix::io::Errno;

use super::*;

/// A folder, and the path of a settings file in it that does not exist yet.
fn folder() -> (TempDir, PathBuf) {
    let folder = TempDir::new().expect("a temporary folder");
    let path = folder.path().canonicalize().expect("exists").join("replicas.json");
    (folder, path)
}

/// Checks the error of opening `path`; `{folder}` in `expected` stands for its folder.
#[track_caller]
fn check_refused(path: &Path, expected: &str) {
    let folder = path.parent().map_or_else(String::new, |folder| folder.display().to_string());
    let refused = Store::open_file(path).map(|_| "opened").map_err(|error| error.to_string());
    assert_eq!(refused, Err(expected.replace("{folder}", &folder)));
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("exists").permissions().mode() & 0o7777
}

#[test]
fn a_missing_file_has_no_settings_and_is_not_created() {
    let (_folder, path) = folder();
    let (store, _committer) = Store::open_file(&path).expect("opens");
    assert!(store.is_empty());
    assert!(!path.exists());
}

#[test]
fn the_file_is_read() {
    let (_folder, path) = folder();
    fs::write(&path, r#"[{"name": "web", "namespace": "default", "replicas": 3}]"#).expect("written");
    let (store, _committer) = Store::open_file(&path).expect("opens");
    assert_eq!(count_of(store.get(&target("web")).as_ref()), Some(3));
    assert_eq!(store.len(), 1);
}

#[test]
fn an_invalid_file_is_named_and_left_unchanged() {
    let (_folder, path) = folder();
    let text = "[\n  {\"name\":\"web\",\"namespace\":\"default\",\"replicas\":-1}\n]\n";
    fs::write(&path, text).expect("written");
    let expected = "{folder}/replicas.json, line 2, column 51: -1 is negative; a replica count is 0 or more";
    check_refused(&path, expected);
    assert_eq!(fs::read_to_string(&path).expect("still there"), text);
    fs::write(&path, "[]").expect("written");
    Store::open_file(&path).expect("the refusal left no lock");
}

#[test]
fn a_file_in_use_is_refused() {
    let (_folder, path) = folder();
    let opened = Store::open_file(&path).expect("opens");
    let expected = "{folder}/replicas.json is in use: \
                    another process holds the lock on {folder}/replicas.json.lock";
    check_refused(&path, expected);
    drop(opened);
    Store::open_file(&path).expect("the lock is free");
}

#[test]
fn paths_that_are_not_files_are_refused() {
    let (_folder, path) = folder();
    for bad in ["", "/", "..", "/dev/null"] {
        check_refused(Path::new(bad), &format!("{bad:?} is not a file"));
    }
    check_refused(
        &path.join("replicas.json"),
        "cannot use the folder {folder} of the settings file: No such file or directory (os error 2)",
    );
    fs::write(&path, "[]").expect("written");
    check_refused(
        &path.join("replicas.json"),
        "cannot use the folder {folder} of the settings file: Not a directory (os error 20)",
    );
    fs::create_dir(path.with_extension("json.lock")).expect("created");
    check_refused(&path, "cannot lock {folder}/replicas.json.lock: Is a directory (os error 21)");
}

/// The error for a folder that cannot be written.
fn not_writable(path: &Path, reason: &str) -> String {
    let folder = path.parent().expect("a folder").display();
    format!("cannot write to the folder {folder} of the settings file: {reason}")
}

#[test]
fn a_folder_that_cannot_be_written_is_refused_without_a_file() {
    let (_folder, path) = folder();
    let disk = Arc::new(TestDisk::default());
    disk.fail(Step::Create, Errno::ROFS);
    let refused = Store::open_file_on(&path, Box::new(disk)).expect_err("not writable").to_string();
    assert_eq!(refused, not_writable(&path, "Read-only file system (os error 30)"));
}

#[test]
fn a_broken_disk_is_refused() {
    let (_folder, path) = folder();
    fs::write(&path, "[]").expect("written");
    for step in [Step::Create, Step::Write, Step::SyncFolder] {
        let disk = Arc::new(TestDisk::default());
        disk.fail(step, Errno::IO);
        let refused = Store::open_file_on(&path, Box::new(disk)).expect_err("broken").to_string();
        assert_eq!(refused, not_writable(&path, "Input/output error (os error 5)"));
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_written_is_read_until_it_can() {
    let (_folder, path) = folder();
    let text = r#"[{"name": "web", "namespace": "default", "replicas": 3}]"#;
    for (step, errno, reason, failed) in [
        (Step::Create, Errno::ROFS, "Read-only file system (os error 30)", "unavailable"),
        (Step::Create, Errno::ACCESS, "Permission denied (os error 13)", "unavailable"),
        (Step::Write, Errno::NOSPC, "No space left on device (os error 28)", "full"),
    ] {
        fs::write(&path, text).expect("written");
        let disk = Arc::new(TestDisk::default());
        disk.fail(step, errno);
        let (store, committer) = Store::open_file_on(&path, Box::new(Arc::clone(&disk))).expect("opens");
        assert!(!path.with_extension("json.tmp").exists(), "a temporary file is left");
        assert_eq!(store.problem(), Some(not_writable(&path, reason)));
        assert_eq!((store.is_locked(), metric(&store, "store_writable")), (true, "0".to_owned()));
        assert_eq!(count_of(store.get(&target("web")).as_ref()), Some(3));

        let committer = thread::spawn(move || committer.run(|_: &Changed| ()));
        disk.fail(step, errno);
        store.apply(target("web"), set(4)).await.expect_err("still not writable");
        assert_eq!(fs::read_to_string(&path).expect("there"), text);
        let failures = metric(&store, &format!("store_commit_failures_total{{reason=\"{failed}\"}}"));
        assert_eq!(failures, "1");
        assert!(store.problem().expect("still not writable").ends_with(reason));
        store.apply(target("web"), set(5)).await.expect("applied");
        assert_eq!((store.problem(), metric(&store, "store_writable")), (None, "1".to_owned()));
        store.close().await;
        committer.join().expect("the committer ends");
    }
}

#[test]
fn a_server_without_the_lock_file_holds_the_settings_file() {
    let (_folder, path) = folder();
    fs::write(&path, "[]").expect("written");
    let file = File::open(&path).expect("opens");
    file.lock().expect("locked");
    let expected =
        "{folder}/replicas.json is in use: another process holds the lock on {folder}/replicas.json";
    check_refused(&path, expected);
    drop(file);
    Store::open_file(&path).expect("the lock is free");
}

#[tokio::test]
async fn a_link_stays_a_link() {
    let (_folder, real) = folder();
    let links = TempDir::new().expect("a temporary folder");
    let link = links.path().canonicalize().expect("exists").join("link.json");
    symlink(&real, &link).expect("linked");
    let expected = format!(
        "cannot follow the link {{folder}}/link.json to {}: No such file or directory (os error 2)",
        real.display()
    );
    check_refused(&link, &expected);

    fs::write(&real, "[]").expect("written");
    let (store, committer) = Store::open_file(&link).expect("opens");
    let refused = Store::open_file(&real).expect_err("the lock is that of the real file");
    assert!(matches!(refused, OpenError::InUse { .. }), "{refused:?}");
    let committer = thread::spawn(move || committer.run(|_: &Changed| ()));
    store.apply(target("web"), set(3)).await.expect("applied");
    assert!(fs::symlink_metadata(&link).expect("exists").is_symlink(), "the link was replaced");
    assert_eq!(settings_file::parse(&fs::read(&real).expect("exists")).expect("valid").settings.len(), 1);
    store.close().await;
    committer.join().expect("the committer ends");
}

#[test]
fn the_temporary_file_of_an_interrupted_write_is_removed() {
    let (_folder, path) = folder();
    let temporary = path.with_extension("json.tmp");
    fs::write(&temporary, "[\n  {\"na").expect("written");
    fs::write(&path, "[]").expect("written");
    let (store, _committer) = Store::open_file(&path).expect("opens");
    assert!(store.is_empty());
    assert!(!temporary.exists());
}

#[tokio::test]
async fn the_file_keeps_its_mode() {
    let running = Running::new();
    running.store.apply(target("web"), set(1)).await.expect("applied");
    assert_eq!(mode(&running.path), 0o600);
    fs::set_permissions(&running.path, fs::Permissions::from_mode(0o644)).expect("changed");
    running.store.apply(target("web"), set(2)).await.expect("applied");
    assert_eq!(mode(&running.path), 0o644);
    running.close().await;
}
