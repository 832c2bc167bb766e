//! The store on real files. Faults that a test cannot get from a real disk come from a [`Disk`] that fails on demand.

use std::{fs, path::PathBuf, thread::JoinHandle};

use jiff::Timestamp;
use replica_count_core::{change::Action, replicas::Replicas};
use tempfile::TempDir;

use super::*;

/// A store in a folder of its own, with its committer at work.
struct Running {
    store: Store,
    committer: JoinHandle<()>,
    path: PathBuf,
    _folder: TempDir,
}

impl Running {
    fn new() -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let path = folder.path().join("replicas.json");
        let (store, committer) = Store::open(&path).expect("opens");
        Self { store, committer: std::thread::spawn(move || committer.run(|_| ())), path, _folder: folder }
    }
}

fn target(name: &str) -> Target {
    Target::new("default", name).expect("valid")
}

fn set(count: i32) -> Change {
    let replicas = Replicas::new(count).expect("valid");
    let action = Action::Set { replicas, by: "alice".into(), at: Timestamp::UNIX_EPOCH, reason: None };
    Change { expected_generation: None, action }
}

#[tokio::test]
async fn a_change_is_in_the_file_before_the_answer() {
    let running = Running::new();
    let applied = running.store.apply(target("web"), set(3)).await.expect("applied");
    assert_eq!(applied.before, None);
    assert_eq!(
        fs::read_to_string(&running.path).expect("written"),
        r#"[
  {"name":"web","namespace":"default","replicas":3,"setBy":"alice","setAt":"1970-01-01T00:00:00Z"}
]
"#
    );
    running.store.close().await;
    running.committer.join().expect("ends");
    assert_eq!(running.store.apply(target("web"), set(4)).await, Err(StoreError::Closed));
}
