//! Failed changes: memory and file agree afterwards, and the next change works.

use rustix::io::Errno;

use super::failure::unavailable;
use super::*;
use crate::store::file::committer::LONGEST_TEXT;

/// Stores a count, fails the next change at `step`, and checks the state. The next change must work.
async fn check_fault(step: Step, errno: Errno, expected: StoreError, reason: &str) {
    let running = Running::new();
    running.store.apply(target("web"), set(1)).await.expect("applied");
    running.disk.fail(step, errno);
    let context = format!("{errno} at {step:?}");

    let failed = running.store.apply(target("web"), set(2)).await;
    assert_eq!(failed, Err(expected.clone()), "{context}");
    running.assert_memory_equals_file();
    let count = if expected == failure::uncertain() { 2 } else { 1 };
    assert_eq!(count_of(running.store.get(&target("web")).as_ref()), Some(count), "{context}");
    let changed = running.changed.lock().expect("no panic").len();
    assert_eq!(changed, if expected == failure::uncertain() { 2 } else { 1 }, "{context}");

    running.store.apply(target("web"), set(3)).await.expect("the next change works");
    running.assert_memory_equals_file();
    let failures = running.metric(&format!("store_commit_failures_total{{reason=\"{reason}\"}}"));
    assert_eq!((running.metric("store_commits_total").as_str(), failures.as_str()), ("2", "1"), "{context}");
    running.close().await;
}

#[tokio::test]
async fn a_full_disk_refuses_the_change() {
    for (step, errno) in [
        (Step::Create, Errno::NOSPC),
        (Step::Write, Errno::NOSPC),
        (Step::Write, Errno::DQUOT),
        (Step::Write, Errno::FBIG),
        (Step::Sync, Errno::NOSPC),
        (Step::Rename, Errno::NOSPC),
    ] {
        check_fault(step, errno, failure::full(), "full").await;
    }
}

#[tokio::test]
async fn a_disk_that_cannot_write_refuses_the_change() {
    let read_only = unavailable("Read-only file system (os error 30)");
    let broken = unavailable("Input/output error (os error 5)");
    for (step, errno, expected) in [
        (Step::Create, Errno::ROFS, &read_only),
        (Step::Write, Errno::IO, &broken),
        (Step::Sync, Errno::IO, &broken),
        (Step::Rename, Errno::ROFS, &read_only),
    ] {
        check_fault(step, errno, expected.clone(), "unavailable").await;
    }
}

#[tokio::test]
async fn a_failed_sync_of_the_folder_is_an_unknown_outcome() {
    for errno in [Errno::IO, Errno::NOSPC] {
        check_fault(Step::SyncFolder, errno, failure::uncertain(), "uncertain").await;
    }
}

#[tokio::test]
async fn a_failed_sync_is_never_retried() {
    let running = Running::new();
    running.disk.fail(Step::Sync, Errno::IO);
    running.store.apply(target("web"), set(1)).await.expect_err("the sync fails");
    assert_eq!(running.disk.steps(), [Step::Create, Step::Write, Step::Sync]);
    running.close().await;
}

#[tokio::test]
async fn a_failed_write_fails_its_whole_batch() {
    for (step, accepted, refused) in [
        (Step::Sync, failure::full(), failure::full()),
        // Here the change that led to the refusal is in effect.
        (Step::SyncFolder, failure::uncertain(), ChangeError::Generation { expected: 0, actual: 1 }.into()),
    ] {
        let running = Running::new();
        let block = running.disk.block(Step::SyncFolder);
        let first = running.submit("first", set(1));
        block.wait_until_reached();
        let answers = [("web", create(1)), ("web", create(2)), ("api", set(3))]
            .map(|(name, change)| running.submit(name, change));
        running.disk.fail(step, Errno::NOSPC);
        drop(block);
        first.await.expect("applied");
        let [web, again, api] = answers;
        assert_eq!(web.await, Err(accepted.clone()));
        assert_eq!(again.await, Err(refused));
        assert_eq!(api.await, Err(accepted));
        running.assert_memory_equals_file();
        running.close().await;
    }
}

#[tokio::test]
async fn obstacles_on_a_real_disk_refuse_the_change() {
    let running = Running::new();
    running.store.apply(target("web"), set(1)).await.expect("applied");
    let content = fs::read(&running.path).expect("written");
    let temporary = running.path.with_extension("json.tmp");

    fs::create_dir(&temporary).expect("created");
    let failed = running.store.apply(target("web"), set(2)).await;
    assert_eq!(failed, Err(unavailable("Is a directory (os error 21)")));
    fs::remove_dir(&temporary).expect("removed");
    running.assert_memory_equals_file();

    fs::remove_file(&running.path).expect("removed");
    fs::create_dir(&running.path).expect("created");
    let failed = running.store.apply(target("web"), set(3)).await;
    assert_eq!(failed, Err(unavailable("Is a directory (os error 21)")));
    assert!(!temporary.exists(), "a temporary file is left");
    fs::remove_dir(&running.path).expect("removed");

    let folder = running.path.parent().expect("a folder").to_owned();
    fs::remove_dir_all(&folder).expect("removed");
    let failed = running.store.apply(target("web"), set(4)).await;
    assert_eq!(failed, Err(unavailable("No such file or directory (os error 2)")));
    assert_eq!(count_of(running.store.get(&target("web")).as_ref()), Some(1));
    fs::create_dir(&folder).expect("created");
    fs::write(&running.path, content).expect("restored");
    running.assert_memory_equals_file();

    running.store.apply(target("web"), set(5)).await.expect("the next change works");
    running.assert_memory_equals_file();
    running.close().await;
}

#[tokio::test]
async fn a_dead_committer_leaves_no_caller_waiting() {
    let folder = TempDir::new().expect("a temporary folder");
    let (store, committer) = Store::open_file(&folder.path().join("replicas.json")).expect("opens");
    let committer = thread::spawn(move || committer.run(|_: &Changed| panic!("on purpose")));
    assert_eq!(store.apply(target("web"), set(1)).await, Err(failure::uncertain()));
    committer.join().expect_err("panicked");
    assert_eq!(store.apply(target("web"), set(2)).await, Err(failure::closed()));
    assert_eq!(count_of(store.get(&target("web")).as_ref()), Some(1), "reads still work");
}

#[tokio::test]
async fn the_size_of_all_settings_is_limited() {
    let folder = TempDir::new().expect("a temporary folder");
    let path = folder.path().join("replicas.json");
    let reason = "x".repeat(1024);
    let setting =
        |n| Setting { reason: Some(reason.clone()), ..Setting::of(Replicas::new(n).expect("valid")) };
    let settings: Settings =
        (0..LONGEST_TEXT / 1024).map(|n| (target(&format!("web-{n}")), Arc::new(setting(1)))).collect();
    let text = settings_file::Text::of(&Stored { settings, ..Stored::default() });
    fs::write(&path, text.current()).expect("written");
    let (store, committer) = Store::open_file(&path).expect("opens");
    let committer = thread::spawn(move || committer.run(|_: &Changed| ()));

    assert_eq!(store.apply(target("one-more"), set(1)).await, Err(failure::too_many()));
    store.apply(target("web-0"), set(2)).await.expect("it does not grow");
    store.apply(target("web-1"), delete()).await.expect("it shrinks");
    assert_eq!(count_of(store.get(&target("web-0")).as_ref()), Some(2));
    assert_eq!(store.get(&target("one-more")), None);
    store.close().await;
    committer.join().expect("the committer ends");
}
