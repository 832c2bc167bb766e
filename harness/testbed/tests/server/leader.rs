//! The election on a real API server: handovers take milliseconds, a crash takes the duration of the lease, and no two
//! terms overlap.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use kube::Client;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use replica_count_core::leader::{Outcome, Request, Term, Timing};
use replica_count_core::lease::{Holder, Lease as HeldLease};
use replica_count_manager::kubernetes::lease::LeaseClient;
use replica_count_manager::server::leader::Leader;
use replica_count_testbed::ControlPlane;
use replica_count_testbed::control_plane::Scope;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::fixture::{eventually, own, shared};

const NAME: &str = "election";
const TIMING: Timing = Timing {
    duration: Duration::from_secs(3),
    renew_deadline: Duration::from_secs(2),
    retry_period: Duration::from_millis(400),
};
const HANDOVERS: usize = 11;

/// A time in which a candidate may write.
#[derive(Clone, Debug)]
struct Window {
    identity: String,
    term: u64,
    from: Instant,
    until: Instant,
}

/// Candidates in one namespace, and when they may write.
struct Election {
    client: Client,
    namespace: String,
    windows: Arc<Mutex<Vec<Window>>>,
    candidates: Vec<Candidate>,
    started: usize,
}

struct Candidate {
    identity: String,
    term: watch::Receiver<Option<Term>>,
    shutdown: CancellationToken,
    drained: CancellationToken,
    task: JoinHandle<()>,
    recorder: JoinHandle<()>,
}

impl Drop for Candidate {
    fn drop(&mut self) {
        self.task.abort();
        self.recorder.abort();
    }
}

impl Election {
    async fn new(control_plane: &ControlPlane) -> Self {
        let namespace = control_plane.namespace("election").await.unwrap();
        let client = control_plane.admin().await.unwrap();
        Self { client, namespace, windows: Arc::default(), candidates: Vec::new(), started: 0 }
    }

    fn leases(&self) -> Api<Lease> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// A Lease that its last holder has given up, so that nobody has to wait.
    async fn create_released(&self) {
        let spec = json!({ "renewTime": "2026-01-01T00:00:00.000000Z" });
        self.create(&json!({ "metadata": { "name": NAME }, "spec": spec })).await;
    }

    async fn create(&self, lease: &serde_json::Value) {
        let lease = serde_json::from_value(lease.clone()).unwrap();
        self.leases().create(&PostParams::default(), &lease).await.unwrap();
    }

    fn lease_client(&self, identity: &str) -> LeaseClient {
        LeaseClient {
            client: self.client.clone(),
            namespace: self.namespace.clone(),
            name: NAME.to_owned(),
            identity: identity.to_owned(),
            duration: TIMING.duration,
        }
    }

    fn start(&mut self) {
        self.start_as(self.client.clone());
    }

    fn start_as(&mut self, client: Client) {
        self.started += 1;
        let identity = format!("candidate-{}", self.started);
        let lease = LeaseClient { client, ..self.lease_client(&identity) };
        let leader = Leader::new(lease, TIMING);
        let term = leader.term();
        let recorder = tokio::spawn(record(identity.clone(), term.clone(), Arc::clone(&self.windows)));
        let (shutdown, drained) = (CancellationToken::new(), CancellationToken::new());
        let task = tokio::spawn(leader.run(shutdown.clone(), drained.clone()));
        self.candidates.push(Candidate { identity, term, shutdown, drained, task, recorder });
    }

    /// Waits until one of the candidates has a term, and returns its index.
    async fn holder(&self) -> usize {
        eventually("one of them holds the lease", async || {
            self.candidates.iter().position(|candidate| candidate.term.borrow().is_some()).ok_or("none")
        })
        .await
    }

    fn check_windows(&self) {
        let mut windows = self.windows.lock().unwrap().clone();
        windows.sort_by_key(|window| window.from);
        for pair in windows.windows(2) {
            assert!(pair[0].until <= pair[1].from, "{pair:?}");
        }
    }

    /// Ends a candidate in an orderly way, starts another one, and waits for the next term. Returns how long that took.
    async fn hand_over(&mut self) -> Duration {
        let index = self.holder().await;
        // The others have seen it.
        sleep(TIMING.retry_period).await;
        let candidate = self.candidates.remove(index);
        self.start();
        let told = Instant::now();
        candidate.shutdown.cancel();
        candidate.term.clone().wait_for(Option::is_none).await.unwrap();
        self.close(&candidate.identity);
        candidate.drained.cancel();
        self.holder().await;
        told.elapsed()
    }

    /// What a candidate has drained is not in flight any more.
    fn close(&self, identity: &str) {
        let now = Instant::now();
        for window in self.windows.lock().unwrap().iter_mut().filter(|window| window.identity == identity) {
            window.until = window.until.min(now);
        }
    }
}

/// Records when a candidate may write. What it sends may arrive until the end of its term, even if that ends earlier.
async fn record(identity: String, mut term: watch::Receiver<Option<Term>>, windows: Arc<Mutex<Vec<Window>>>) {
    while term.changed().await.is_ok() {
        let Some(Term { number, may_write_until }) = *term.borrow_and_update() else { continue };
        let mut windows = windows.lock().unwrap();
        let own = windows.iter_mut().find(|window| window.identity == identity && window.term == number);
        match own {
            Some(window) => window.until = may_write_until,
            None => windows.push(Window {
                identity: identity.clone(),
                term: number,
                from: Instant::now(),
                until: may_write_until,
            }),
        }
    }
}

#[tokio::test]
async fn a_holder_that_ends_is_replaced_at_once() {
    let mut election = Election::new(shared().await).await;
    election.create_released().await;
    election.start();
    election.start();
    let mut took = Vec::new();
    for _ in 0..HANDOVERS {
        took.push(election.hand_over().await);
    }
    election.check_windows();
    took.sort();
    let median = took[HANDOVERS / 2];
    println!("{HANDOVERS} handovers: median {median:?}, slowest {:?}", took[HANDOVERS - 1]);
    assert!(median <= Duration::from_millis(300), "{took:?}");
    let lease = election.leases().get(NAME).await.unwrap().spec.unwrap();
    assert_eq!(lease.lease_transitions, i32::try_from(HANDOVERS + 1).ok());
}

#[tokio::test]
async fn a_holder_that_crashes_is_replaced_after_the_duration() {
    let mut election = Election::new(shared().await).await;
    election.create_released().await;
    election.start();
    election.holder().await;
    election.start();
    sleep(TIMING.duration).await;
    let crashed = Instant::now();
    drop(election.candidates.remove(0));
    election.holder().await;
    let took = crashed.elapsed();
    println!("crash to the next term: {took:?}");
    assert!(took <= TIMING.duration + Duration::from_secs(1), "{took:?}");
    election.check_windows();
}

#[tokio::test]
async fn a_deleted_lease_ends_the_term_at_once_and_is_held_again_after_the_duration() {
    let mut election = Election::new(shared().await).await;
    election.create_released().await;
    election.start();
    election.start();
    let holder = election.holder().await;
    election.leases().delete(NAME, &DeleteParams::default()).await.unwrap();
    let deleted = Instant::now();
    let mut term = election.candidates[holder].term.clone();
    timeout(Duration::from_secs(10), term.wait_for(Option::is_none)).await.unwrap().unwrap();
    assert!(deleted.elapsed() < TIMING.retry_period, "{:?}", deleted.elapsed());
    election.holder().await;
    let took = deleted.elapsed();
    assert!(took >= TIMING.duration, "{took:?}");
    election.check_windows();
}

#[tokio::test]
async fn a_lease_that_was_never_held_is_left_alone_for_the_duration() {
    let mut election = Election::new(shared().await).await;
    election.create(&json!({ "metadata": { "name": NAME, "labels": { "kept": "yes" } } })).await;
    let started = Instant::now();
    election.start();
    election.start();
    election.holder().await;
    assert!(started.elapsed() >= TIMING.duration, "{:?}", started.elapsed());
    let lease = election.leases().get(NAME).await.unwrap();
    assert_eq!(lease.metadata.labels.unwrap()["kept"], "yes");
}

#[tokio::test]
async fn the_lease_of_another_program_is_taken_when_it_expires() {
    let mut election = Election::new(shared().await).await;
    let spec = json!({ "holderIdentity": "backup", "leaseDurationSeconds": 5 });
    election.create(&json!({ "metadata": { "name": NAME }, "spec": spec })).await;
    let started = Instant::now();
    election.start();
    sleep(Duration::from_secs(3)).await;
    let renewed = json!({ "spec": { "renewTime": "2026-01-01T00:00:00.000000Z" } });
    election.leases().patch(NAME, &PatchParams::default(), &Patch::Merge(renewed)).await.unwrap();
    election.holder().await;
    let took = started.elapsed();
    assert!(took >= Duration::from_secs(8), "{took:?}");
}

#[tokio::test]
async fn an_older_version_or_another_object_is_refused() {
    let election = Election::new(shared().await).await;
    election.create_released().await;
    let lease = election.lease_client("me");
    let send = async |request: Request| {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        lease.send(&request, (None, 0), deadline).await.0
    };
    let Outcome::Read(Some(first)) = send(Request::Read).await else { panic!("it exists") };
    let hold = |lease: &HeldLease| Request::Hold(lease.uid.clone(), lease.version);
    let Outcome::Written(second) = send(hold(&first)).await else { panic!("it is free") };
    assert_eq!(second.identity(), Some("me"));
    assert_eq!(send(hold(&first)).await, Outcome::Refused, "an older version");
    assert_eq!(send(Request::Release(first.uid.clone(), first.version)).await, Outcome::Refused);
    assert_eq!(send(Request::Create).await, Outcome::Refused);
    let Outcome::Written(third) = send(hold(&second)).await else { panic!("it is the newest version") };
    let released = send(Request::Release(third.uid.clone(), third.version)).await;
    assert!(matches!(released, Outcome::Written(lease) if lease.holder == Holder::Released));

    election.leases().delete(NAME, &DeleteParams::default()).await.unwrap();
    assert_eq!(send(hold(&third)).await, Outcome::Refused, "there is none");
    assert_eq!(send(Request::Read).await, Outcome::Read(None));
    let Outcome::Written(other) = send(Request::Create).await else { panic!("there is none") };
    assert_eq!(other.holder, Holder::Never);
    assert_eq!(
        send(hold(&HeldLease { version: other.version, ..third })).await,
        Outcome::Refused,
        "another object"
    );
}

#[tokio::test]
async fn without_the_right_nothing_is_held() {
    let control_plane = shared().await;
    let mut election = Election::new(control_plane).await;
    election.create_released().await;
    let scope = Scope::Namespace(election.namespace.clone());
    let kubeconfig = control_plane.manager_kubeconfig(&scope).await.unwrap();
    let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
    let options = KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap();
    election.start_as(Client::try_from(config).unwrap());
    sleep(TIMING.duration * 2).await;
    assert!(election.candidates[0].term.borrow().is_none());
}

#[tokio::test]
async fn an_api_server_that_stands_still_ends_the_term_in_time() {
    let control_plane = own().await;
    let mut election = Election::new(&control_plane).await;
    election.create_released().await;
    election.start();
    election.start();
    let holder = election.holder().await;
    control_plane.pause_api_server().unwrap();
    let paused = Instant::now();
    let mut term = election.candidates[holder].term.clone();
    timeout(Duration::from_secs(10), term.wait_for(Option::is_none)).await.unwrap().unwrap();
    assert!(paused.elapsed() <= TIMING.renew_deadline + Duration::from_millis(200), "{:?}", paused.elapsed());
    sleep(TIMING.duration).await;
    control_plane.resume_api_server().unwrap();
    election.holder().await;
    election.check_windows();
}
