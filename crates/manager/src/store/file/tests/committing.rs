//! Successful changes: durable before the answer, in order, and many in one write.

use std::collections::BTreeSet;

use futures_util::future::join_all;

use super::*;

#[tokio::test]
async fn the_answer_is_sent_after_the_last_sync() {
    let running = Running::new();
    let block = running.disk.block(Step::SyncFolder);
    let mut answer = running.submit("web", set(3));
    block.wait_until_reached();
    assert_eq!((&mut answer).now_or_never(), None, "answered before the sync of the folder");
    assert_eq!(running.store.get(&target("web")), None, "shown before the sync of the folder");
    assert_eq!(*running.changed.lock().expect("no panic"), []);
    drop(block);

    let applied = answer.await.expect("applied");
    assert_eq!((count_of(applied.before.as_ref()), count_of(applied.after.as_ref())), (None, Some(3)));
    assert_eq!(running.store.get(&target("web")), applied.after);
    assert_eq!(*running.changed.lock().expect("no panic"), [(target("web"), Some(3))]);
    let steps = [Step::Create, Step::Write, Step::Sync, Step::Rename, Step::SyncFolder];
    assert_eq!(running.disk.steps(), steps);
    let text = fs::read_to_string(&running.path).expect("written");
    let entry =
        r#"{"name":"web","namespace":"default","replicas":3,"setBy":"alice","setAt":"1970-01-01T00:00:00Z"}"#;
    assert_eq!(text, format!("[\n  {entry}\n]\n"));
    running.close().await;
}

#[tokio::test]
async fn changes_that_wait_share_one_write() {
    let running = Running::new();
    let block = running.disk.block(Step::Sync);
    let first = running.submit("first", set(1));
    block.wait_until_reached();
    let waiting: Vec<_> = (0..100).map(|count| running.submit(&format!("web-{count}"), set(count))).collect();
    drop(block);
    first.await.expect("applied");
    for answer in join_all(waiting).await {
        answer.expect("applied");
    }
    running.assert_memory_equals_file();
    assert_eq!(running.store.len(), 101);
    for (metric, value) in [
        ("store_commits_total", "2"),
        ("store_commit_seconds_count", "2"),
        ("store_commit_changes_sum", "101.0"),
        ("store_settings", "101"),
    ] {
        assert_eq!(running.metric(metric), value, "{metric}");
    }
    running.close().await;
}

#[tokio::test]
async fn a_refused_change_leaves_the_text_unchanged() {
    let running = Running::new();
    running.store.apply(target("web"), set(1)).await.expect("applied");
    running.store.apply(target("missing"), delete()).await.expect_err("there is nothing to delete");
    running.store.apply(target("other"), set(2)).await.expect("applied");
    running.assert_memory_equals_file();
    assert_eq!(running.store.len(), 2);
    running.close().await;
}

#[tokio::test]
async fn each_change_of_a_batch_sees_the_earlier_ones() {
    let running = Running::new();
    running.store.apply(target("old"), set(9)).await.expect("applied");
    let block = running.disk.block(Step::Sync);
    let other = running.submit("other", set(1));
    block.wait_until_reached();
    let batch = [
        ("web", create(1)),
        ("web", create(2)),
        ("missing", delete()),
        ("web", set(3)),
        ("old", delete()),
        ("old", create(4)),
        ("new", set(5)),
        ("new", delete()),
    ];
    let answers: Vec<_> = batch.into_iter().map(|(name, change)| running.submit(name, change)).collect();
    drop(block);
    other.await.expect("applied");
    let counts = |applied: Changed| (count_of(applied.before.as_ref()), count_of(applied.after.as_ref()));
    let answers: Vec<_> = join_all(answers).await.into_iter().map(|answer| answer.map(counts)).collect();
    assert_eq!(
        answers,
        [
            Ok((None, Some(1))),
            Err(ChangeError::Generation { expected: 0, actual: 1 }.into()),
            Err(ChangeError::NotManaged.into()),
            Ok((Some(1), Some(3))),
            Ok((Some(9), None)),
            Ok((None, Some(4))),
            Ok((None, Some(5))),
            Ok((Some(5), None)),
        ]
    );
    assert_eq!(
        running.store.read(|settings| settings.keys().map(Target::name).collect::<Vec<_>>().join(" ")),
        "old other web"
    );
    running.assert_memory_equals_file();
    assert_eq!(running.metric("store_commits_total"), "3");
    running.close().await;
}

#[tokio::test]
async fn refusals_alone_write_nothing() {
    let running = Running::new();
    let refused = running.store.apply(target("web"), delete()).await;
    assert_eq!(refused, Err(ChangeError::NotManaged.into()));
    assert_eq!(running.disk.steps(), []);
    running.close().await;
}

#[tokio::test]
async fn a_dry_run_changes_nothing() {
    let running = Running::new();
    let checked = running.store.check(&target("web"), &create(3)).expect("accepted");
    assert_eq!((checked.before, count_of(checked.after.as_ref())), (None, Some(3)));
    assert_eq!(running.store.check(&target("web"), &delete()), Err(ChangeError::NotManaged));
    assert!(running.store.is_empty());
    assert_eq!(running.disk.steps(), []);
    running.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_acknowledged_of_concurrent_changes_is_stored() {
    const CHANGES: i32 = 200;
    let running = Running::new();
    let tasks: Vec<_> = (0..CHANGES)
        .map(|count| {
            let store = running.store.clone();
            tokio::spawn(async move { store.apply(target("web"), set(count)).await })
        })
        .collect();
    let mut generations = BTreeSet::new();
    let mut last = None;
    for task in tasks {
        let after = task.await.expect("no panic").expect("applied").after.expect("stored");
        assert!(generations.insert(after.generation), "two changes got generation {}", after.generation);
        last = last.max(Some((after.generation, after.replicas)));
    }
    let stored = running.store.get(&target("web")).expect("stored");
    assert_eq!(last, Some((stored.generation, stored.replicas)));
    assert_eq!(stored.generation, u64::from(CHANGES.unsigned_abs()));
    running.assert_memory_equals_file();
    running.close().await;
}

#[tokio::test]
async fn a_change_is_applied_even_if_its_caller_stops_waiting() {
    let running = Running::new();
    let block = running.disk.block(Step::Sync);
    drop(running.submit("web", set(3)));
    block.wait_until_reached();
    drop(block);
    running.store.apply(target("api"), set(1)).await.expect("applied");
    assert_eq!(count_of(running.store.get(&target("web")).as_ref()), Some(3));
    let changed = running.changed.lock().expect("no panic").clone();
    assert_eq!(changed, [(target("web"), Some(3)), (target("api"), Some(1))]);
    running.close().await;
}

#[tokio::test]
async fn too_many_waiting_changes_are_refused() {
    let running = Running::new();
    let block = running.disk.block(Step::Sync);
    let first = running.submit("first", set(1));
    block.wait_until_reached();
    let waiting: Vec<_> = (0..4096).map(|count| running.submit("web", set(count))).collect();
    assert_eq!(running.store.apply(target("web"), set(1)).await, Err(failure::busy()));
    drop(block);
    first.await.expect("applied");
    for answer in join_all(waiting).await {
        answer.expect("applied");
    }
    assert_eq!(count_of(running.store.get(&target("web")).as_ref()), Some(4095));
    running.close().await;
}

#[tokio::test]
async fn closing_commits_what_was_submitted_and_refuses_the_rest() {
    let running = Running::new();
    let block = running.disk.block(Step::Sync);
    let first = running.submit("first", set(1));
    block.wait_until_reached();
    let second = running.submit("second", set(2));
    running.store.close().await;
    let third = running.submit("third", set(3));
    drop(block);
    for answer in [first, second, third] {
        answer.await.expect("applied");
    }
    running.committer.join().expect("the committer ends");
    assert_eq!(running.store.apply(target("late"), set(4)).await, Err(failure::closed()));
    running.store.close().await;

    let (reopened, _committer) = Store::open_file(&running.path).expect("the lock is free");
    assert_eq!(reopened.read(Settings::clone), running.store.read(Settings::clone));
    assert_eq!(reopened.len(), 3);
}

#[tokio::test]
async fn the_committer_ends_when_no_handle_is_left() {
    let folder = TempDir::new().expect("a temporary folder");
    let (store, committer) = Store::open_file(&folder.path().join("replicas.json")).expect("opens");
    let committer = thread::spawn(move || committer.run(|_: &Changed| ()));
    store.apply(target("web"), set(1)).await.expect("applied");
    drop(store);
    committer.join().expect("the committer ends");
}
