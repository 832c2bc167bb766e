//! Many clients that set counts, and what they know about the stored settings when the server has ended.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::{join, join_all, try_join_all};
use replica_count_api::proto;
use replica_count_core::setting::Settings;
use replica_count_core::target::Target;
use replica_count_testbed::Manager;
use replica_count_testbed::manager::Client;
use tokio::sync::watch;
use tokio::time;

use crate::fixture::Fixture;

const TARGETS: usize = 50;
/// The number of targets that exist in the cluster.
const DEPLOYMENTS: usize = 5;
const CONNECTIONS: usize = 10;
/// Two for each target, so their Sets compete.
const WRITERS: usize = 2 * TARGETS;
const SETS_OF_A_WRITER: usize = 10;
const SETS: usize = WRITERS * SETS_OF_A_WRITER;

/// The longest delay between the acknowledgement that triggers the end and the end itself. Longer than a write takes.
const DELAY_MICROS: u64 = 10_000;

/// How the server ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Like a crash: an unanswered Set may or may not be stored.
    Kill,
    /// Gracefully: every stored Set is answered.
    Terminate,
}

/// The targets, and what is known about them.
pub(super) struct Load {
    namespace: String,
    targets: Vec<LoadedTarget>,
}

struct LoadedTarget {
    name: String,
    known: Mutex<Known>,
}

/// What the writers of one target know.
#[derive(Debug, Default)]
struct Known {
    /// The last submitted count. No count is submitted twice.
    last: i32,
    /// The newest acknowledged setting.
    acknowledged: Option<Stored>,
    /// Submitted but unacknowledged counts.
    in_flight: Vec<i32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stored {
    generation: u64,
    count: i32,
}

impl Load {
    pub(super) fn new(namespace: &str) -> Self {
        let name = |n| if n < DEPLOYMENTS { format!("web-{n}") } else { format!("missing-{n}") };
        let targets = (0..TARGETS).map(|n| LoadedTarget { name: name(n), known: Mutex::default() });
        Self { namespace: namespace.to_owned(), targets: targets.collect() }
    }

    /// The names of the targets that exist in the cluster.
    pub(super) fn deployments(&self) -> impl Iterator<Item = &str> {
        self.targets[..DEPLOYMENTS].iter().map(|target| target.name.as_str())
    }

    /// The last known stored count of a target.
    pub(super) fn count(&self, name: &str) -> i32 {
        let target = self.targets.iter().find(|target| target.name == name).unwrap();
        target.known.lock().unwrap().acknowledged.unwrap().count
    }

    /// The number of unacknowledged Sets.
    pub(super) fn unanswered(&self) -> usize {
        self.targets.iter().map(|target| target.known.lock().unwrap().in_flight.len()).sum()
    }

    /// Sets counts concurrently, and ends the server at a random moment.
    pub(super) async fn run(
        &self,
        manager: Manager,
        ending: Ending,
        random: &mut fastrand::Rng,
        context: &str,
    ) {
        let end_after = random.usize(1..SETS * 9 / 10);
        let delay = Duration::from_micros(if random.bool() { random.u64(..DELAY_MICROS) } else { 0 });
        let clients = try_join_all((0..CONNECTIONS).map(|_| manager.client())).await.unwrap();
        let acknowledged = watch::Sender::new(0);
        let is_ending = AtomicBool::new(false);
        let writers = (0..WRITERS).map(async |writer| {
            let target = &self.targets[writer % TARGETS];
            let client = clients[writer % CONNECTIONS].clone();
            if let Err(status) = self.write(target, client, &acknowledged).await {
                assert!(is_ending.load(Ordering::SeqCst), "{}: {status}; {context}", target.name);
            }
        });
        let end = async {
            acknowledged.subscribe().wait_for(|&sets| sets >= end_after).await.unwrap();
            time::sleep(delay).await;
            is_ending.store(true, Ordering::SeqCst);
            match ending {
                Ending::Kill => manager.kill().unwrap(),
                Ending::Terminate => {
                    let status = manager.terminate().await.unwrap();
                    assert!(status.success(), "{status}; {context}");
                }
            }
        };
        join(join_all(writers), end).await;
    }

    async fn write(
        &self,
        target: &LoadedTarget,
        mut client: Client,
        acknowledged: &watch::Sender<usize>,
    ) -> Result<(), tonic::Status> {
        for _ in 0..SETS_OF_A_WRITER {
            let count = target.known.lock().unwrap().submit();
            let request = proto::SetDeploymentRequest {
                name: target.name.clone(),
                namespace: self.namespace.clone(),
                replicas: Some(count),
                allow_missing: true,
                ..proto::SetDeploymentRequest::default()
            };
            let answer = client.set_deployment(request).await?.into_inner();
            assert_eq!(answer.new_replicas, Some(count), "{}", target.name);
            let generation = answer.generation.try_into().unwrap();
            target.known.lock().unwrap().acknowledge(Stored { generation, count });
            acknowledged.send_modify(|sets| *sets += 1);
        }
        Ok(())
    }

    /// Checks the stored settings against what is known, and takes them as known from now on.
    pub(super) fn learn(&mut self, settings: &Settings, ending: Ending, context: &str) {
        for target in &self.targets {
            let stored = settings.get(&Target::deployment(&self.namespace, &target.name).unwrap());
            let stored = stored
                .map(|setting| Stored { generation: setting.generation, count: setting.replicas.get() });
            let mut known = target.known.lock().unwrap();
            assert!(
                known.allows(stored, ending),
                "{}: {stored:?} is stored, {known:?}; {context}",
                target.name
            );
            known.acknowledged = stored;
            known.in_flight.clear();
        }
    }

    /// Expects Get to return the known settings.
    pub(super) async fn check_answers(&self, fixture: &Fixture<'_>, context: &str) {
        let answers = self.targets.iter().map(async |target| {
            let request = proto::GetDeploymentRequest {
                name: target.name.clone(),
                namespace: self.namespace.clone(),
                ..proto::GetDeploymentRequest::default()
            };
            let answer = fixture.client.clone().get_deployment(request).await;
            let answered = answer.map(tonic::Response::into_inner).ok().and_then(|answer| {
                let generation = answer.generation.try_into().unwrap();
                Some(Stored { generation, count: answer.desired_replicas? })
            });
            let known = target.known.lock().unwrap();
            assert_eq!(answered, known.acknowledged, "{}; {context}", target.name);
        });
        join_all(answers).await;
    }
}

impl Known {
    /// The next count.
    fn submit(&mut self) -> i32 {
        self.last += 1;
        self.in_flight.push(self.last);
        self.last
    }

    fn acknowledge(&mut self, stored: Stored) {
        self.in_flight.retain(|&count| count != stored.count);
        match self.acknowledged {
            Some(newest) if newest.generation > stored.generation => {}
            Some(newest) => {
                assert_ne!(newest.generation, stored.generation, "{newest:?}, {stored:?}");
                self.acknowledged = Some(stored);
            }
            None => self.acknowledged = Some(stored),
        }
    }

    /// Whether this may be stored: the newest acknowledged setting or, after a kill, a newer one that was in flight.
    fn allows(&self, stored: Option<Stored>, ending: Ending) -> bool {
        if stored == self.acknowledged {
            return true;
        }
        let acknowledged = self.acknowledged.map_or(0, |acknowledged| acknowledged.generation);
        let newest = acknowledged + u64::try_from(self.in_flight.len()).unwrap();
        ending == Ending::Kill
            && stored.is_some_and(|stored| {
                (acknowledged + 1..=newest).contains(&stored.generation)
                    && self.in_flight.contains(&stored.count)
            })
    }
}
