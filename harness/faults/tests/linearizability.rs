//! Concurrent clients of the store: their answers must be linearizable.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread;
use std::time::Instant;

use replica_count_core::change::{Action, Change, ChangeError, Changed, Existing};
use replica_count_core::replicas::Replicas;
use replica_count_core::target::Target;
use replica_count_faults::history::{Operation, Outcome, Request, Stored};
use replica_count_faults::linearizability;
use replica_count_manager::store::{Store, StoreError};
use tempfile::TempDir;
use tokio::task::JoinSet;

const TARGETS: usize = 2;
const CLIENTS: u64 = 8;
const REQUESTS: usize = 40;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_changes_and_reads_have_an_order() {
    let folder = TempDir::new().unwrap();
    let (store, committer) = Store::open_file(&folder.path().join("replicas.json")).unwrap();
    let committer = thread::spawn(move || committer.run(|_: &Changed| ()));
    let clients: &'static Clients = Box::leak(Box::new(Clients::new(store.clone())));
    let mut tasks = JoinSet::new();
    for client in 0..CLIENTS {
        tasks.spawn(clients.client(fastrand::Rng::with_seed(client)));
    }
    tasks.join_all().await;
    store.close().await;
    tokio::task::spawn_blocking(move || committer.join()).await.unwrap().unwrap();
    let histories = clients.histories.lock().unwrap();
    for (target, history) in histories.iter() {
        assert!(history.len() > 50, "{target}: {}", history.len());
        linearizability::check(None, history).unwrap();
    }
}

struct Clients {
    store: Store,
    clock: Instant,
    next_count: AtomicI32,
    histories: Mutex<BTreeMap<Target, Vec<Operation>>>,
}

impl Clients {
    fn new(store: Store) -> Self {
        Self { store, clock: Instant::now(), next_count: AtomicI32::new(1), histories: Mutex::default() }
    }

    async fn client(&self, mut random: fastrand::Rng) {
        for _ in 0..REQUESTS {
            let target = Target::deployment("default", &format!("web-{}", random.usize(..TARGETS))).unwrap();
            let request = match random.u8(..10) {
                0..=4 => Request::Set { count: self.next_count.fetch_add(1, Ordering::SeqCst) },
                5 | 6 => Request::Delete,
                _ => Request::Get,
            };
            let begun = self.clock.elapsed();
            let outcome = self.call(&target, request).await;
            let operation = Operation { request, begun, outcome, ended: self.clock.elapsed() };
            self.histories.lock().unwrap().entry(target).or_default().push(operation);
        }
    }

    async fn call(&self, target: &Target, request: Request) -> Outcome {
        let action = match request {
            Request::Get => {
                tokio::task::yield_now().await;
                let stored = self.store.get(target).map(|setting| Stored {
                    generation: setting.generation.cast_signed(),
                    count: setting.replicas.get(),
                });
                return Outcome::Got { stored };
            }
            Request::Set { count } => {
                let replicas = Replicas::new(count).unwrap();
                Action::Set { replicas, until: None, reason: None }
            }
            Request::Delete => Action::Delete,
        };
        let (by, at) = ("alice".to_owned(), "2026-01-01T00:00:00Z".parse().unwrap());
        let change = Change { expected_generation: None, existing: Existing::Any, by, at, action };
        match self.store.apply(target.clone(), change).await {
            Ok(Changed { after: Some(setting), .. }) => {
                Outcome::Set { generation: setting.generation.cast_signed() }
            }
            Ok(Changed { after: None, .. }) => Outcome::Deleted,
            Err(StoreError::Change(ChangeError::NotManaged)) => Outcome::NotManaged,
            Err(error) => panic!("{error}"),
        }
    }
}
