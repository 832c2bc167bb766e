//! What a server records of what it has seen while another one recorded.

use jiff::Timestamp;
use replica_count_core::event::EventKind;
use replica_count_core::history::Bounds;
use replica_count_core::history::sample::sample;
use replica_count_core::replicas::Replicas;
use replica_count_core::setting::Enforcement;

use super::*;
use crate::history;

fn event(generation: u64, kind: EventKind) -> Event {
    let target = Target::deployment("shop", "web").unwrap();
    Event { target, at: Timestamp::UNIX_EPOCH, generation: Some(generation), kind }
}

fn count(count: i32) -> Replicas {
    Replicas::new(count).unwrap()
}

fn set(to: i32) -> EventKind {
    EventKind::Set { by: None, from: None, to: count(to), until: None, reason: None }
}

/// What an object tells, with these ids.
fn told(ids: impl IntoIterator<Item = u64>, event: &Event) -> Told {
    let entry = Entry::of(event).unwrap();
    Told {
        target: event.target.clone(),
        entries: ids.into_iter().map(|id| Entry { id, ..entry.clone() }).collect(),
        missing: 0,
        version: 11,
        is_latest: true,
        is_news: true,
    }
}

/// What the history has, oldest first.
fn kept(history: &SharedHistory) -> Vec<(What, Option<i32>)> {
    let entry = |entry: &Arc<Entry>| (entry.what, entry.to.map(Replicas::get));
    history.read(|history| history.entries().map(entry).collect())
}

#[tokio::test(start_paused = true)]
async fn a_new_holder_records_only_recent_changes_of_settings() {
    let (history, mut recorder) = history::in_objects(Bounds::DEFAULT);
    recorder.observe(&event(1, set(3)), Holder::Nobody);
    tokio::time::advance(MAX_UNRECORDED_AGE).await;
    recorder.observe(&event(2, set(4)), Holder::Nobody);
    let ignored = Enforcement::Ignore { until: None };
    recorder.observe(&event(3, EventKind::EnforcementSet { by: None, enforcement: ignored }), Holder::Nobody);
    // A repair that was cut off by the end of the term may have been made by the next holder.
    recorder.observe(&event(3, EventKind::Calmed), Holder::Nobody);
    recorder.observe(&event(3, EventKind::Missing), Holder::Nobody);
    tokio::time::advance(MAX_UNRECORDED_AGE / 2).await;
    recorder.record_unrecorded();
    assert_eq!(kept(&history), [(What::Set, Some(4)), (What::Ignored, None)]);
    recorder.record_unrecorded();
    assert_eq!(kept(&history).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_new_holder_does_not_tell_what_the_one_before_has_told() {
    let (history, mut recorder) = history::in_objects(Bounds::DEFAULT);
    let mut watcher = history.watch();
    recorder.observe(&event(1, set(3)), Holder::Other("another".to_owned()));
    recorder.observe(&event(2, set(4)), Holder::Nobody);
    recorder.record_unrecorded();
    for is_told in [false, true] {
        let happened = watcher.try_recv().unwrap();
        assert!(matches!(happened, Happened::Event { is_own, .. } if is_own == is_told), "{happened:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_is_in_the_history_once() {
    let change = event(1, set(3));
    // The object tells it before the change is seen, between that and the handover, or after it.
    let orders: [fn(&mut Recorder, &Event); 3] = [
        |recorder, change| {
            recorder.adopt(told([1000], change));
            recorder.observe(change, Holder::Nobody);
            recorder.record_unrecorded();
        },
        |recorder, change| {
            recorder.observe(change, Holder::Nobody);
            recorder.adopt(told([1000], change));
            recorder.record_unrecorded();
        },
        |recorder, change| {
            recorder.observe(change, Holder::Nobody);
            recorder.record_unrecorded();
            recorder.adopt(told([1000], change));
        },
    ];
    for order in orders {
        let (history, mut recorder) = history::in_objects(Bounds::DEFAULT);
        order(&mut recorder, &change);
        assert_eq!(kept(&history), [(What::Set, Some(3))]);
        // Another count, or the same one after a deletion, is another change.
        recorder.adopt(told([u64::from(u32::MAX) << 30], &event(2, set(4))));
        recorder.observe(&event(2, EventKind::Deleted { by: None, desired: count(4) }), Holder::Nobody);
        recorder.observe(&change, Holder::Nobody);
        recorder.record_unrecorded();
        let all = [(What::Set, Some(3)), (What::Set, Some(4)), (What::Deleted, None), (What::Set, Some(3))];
        assert_eq!(kept(&history), all);
    }
    // Drifts of one generation are many.
    let (history, mut recorder) = history::in_objects(Bounds::DEFAULT);
    let drifts = told([1000, 1001], &change);
    let drifted = |entry: Entry| Entry { id: entry.id, ..sample("shop", "web", What::Drifted) };
    recorder.adopt(Told { entries: drifts.entries.into_iter().map(drifted).collect(), ..drifts });
    assert_eq!(kept(&history).len(), 2);
}

#[tokio::test]
async fn what_was_there_before_the_start_is_no_news() {
    let (history, mut recorder) = history::in_objects(Bounds::DEFAULT);
    let mut watcher = history.watch();
    recorder.adopt(Told { is_news: false, missing: 999, ..told([1000], &event(1, set(3))) });
    assert!(watcher.try_recv().is_err());
    recorder.adopt(told([1001], &event(2, set(4))));
    let happened = watcher.try_recv().unwrap();
    assert!(
        matches!(&happened, Happened::Event { entry, is_own: false, .. } if entry.id == 1001),
        "{happened:?}"
    );
    assert_eq!(kept(&history).len(), 2);
}

#[tokio::test]
async fn what_this_server_has_recorded_is_no_gap_for_its_watchers() {
    let change = event(1, set(3));
    let (holder, mut recorder) = history::in_objects(Bounds { per_target: 1, ..Bounds::DEFAULT });
    for generation in 1..4 {
        recorder.record(&event(generation, set(3)));
    }
    let ids: Vec<_> = holder.read(|history| history.entries().map(|entry| entry.id).collect());
    let mut watcher = holder.watch();
    recorder.adopt(Told { missing: ids[0] - 1, ..told([ids[0]], &change) });
    assert!(watcher.try_recv().is_err());
    recorder.adopt(Told { missing: 999, ..told([1000], &event(9, set(4))) });
    assert!(matches!(watcher.try_recv(), Ok(Happened::Gap(_))));
}
