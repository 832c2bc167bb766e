//! The one path to a repair: take a target that is due, make a step, write if it says so, and make a step with the
//! outcome.
//!
//! Steps are made one after the other; only writes overlap, at most [`MAX_WRITES`] at once.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use kube::Client;
use replica_count_core::decide::Repair;
use replica_count_core::policy::Policy;
use replica_count_core::step::{Cause, Next, Outcome, Step, step};
use replica_count_core::target::Target;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::clock;
use super::marker::Marker;
use super::records::Records;
use super::report::Report;
use crate::cluster::Cluster;
use crate::kubernetes::scale;

/// Writes in flight at once: enough to use a fast API server, few enough to leave it to others.
const MAX_WRITES: usize = 32;
/// How often every managed target is looked at again, from memory.
const RESYNC: Duration = Duration::from_mins(5);

/// Repairs drift.
pub struct Reconciler {
    /// What is observed.
    pub cluster: Arc<Cluster>,
    /// What is desired, and what is due.
    pub marker: Marker,
    /// What happened.
    pub records: Arc<Records>,
    /// The server-wide policy.
    pub policy: Arc<Policy>,
    /// The API server.
    pub client: Client,
    /// Who is told.
    pub report: Report,
}

impl Reconciler {
    /// Works until `shutdown`; writes in flight then are finished.
    pub async fn run(self, shutdown: CancellationToken) {
        let work = Arc::clone(&self.marker.work);
        let mut writes = FuturesUnordered::new();
        let mut resync = tokio::time::interval(RESYNC);
        resync.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                _ = resync.tick() => self.marker.mark_all(),
                Some(target) = writes.next() => work.done(&target),
                target = work.next(), if writes.len() < MAX_WRITES => match self.look(&target) {
                    Some(repair) => writes.push(self.write(target, repair)),
                    None => work.done(&target),
                },
            }
        }
        while writes.next().await.is_some() {}
    }

    /// Looks at a target that is due; returns the write that it needs.
    fn look(&self, target: &Target) -> Option<Repair> {
        let setting = self.marker.store.get(target)?;
        let now = clock::now();
        let step = {
            let view = self.cluster.view();
            let (observation, autoscaler) = (view.observation(target), view.autoscaler(target));
            let cause = Cause::Due { setting: &setting, observation, autoscaler };
            self.records
                .update(target, |record| step(record, target, cause, &self.policy, now, fastrand::f64()))?
        };
        self.follow(target, step)
    }

    /// Writes and makes a step with the outcome; returns the target, on which the work is then done.
    async fn write(&self, target: Target, repair: Repair) -> Target {
        let started = Instant::now();
        let outcome = match scale::write(&self.client, &target, &repair).await {
            Ok(written) => {
                if let Some(written) = written {
                    self.cluster.record_write(&target, &repair.uid, written, repair.to);
                }
                Outcome::Written { took: started.elapsed() }
            }
            Err(error) => Outcome::Failed {
                failure: error.failure(),
                message: error.to_string(),
                retry_after: error.retry_after(),
            },
        };
        let now = clock::now();
        let step = self.records.update_or_default(&target, |record| {
            let cause = Cause::WriteEnded { repair: &repair, outcome };
            step(record, &target, cause, &self.policy, now, fastrand::f64())
        });
        self.follow(&target, step);
        target
    }

    /// Does what a step says, but for the write, which is returned.
    fn follow(&self, target: &Target, Step { next, events }: Step) -> Option<Repair> {
        for event in &events {
            self.report.tell(event);
        }
        match next {
            Next::AwaitChange => None,
            Next::RequeueAt(until) => {
                self.marker.work.mark_at(target.clone(), until);
                None
            }
            Next::Write(repair) => Some(repair),
        }
    }
}
