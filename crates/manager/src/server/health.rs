//! Whether the server is ready, and whether it can reach Kubernetes.

use std::collections::BTreeSet;
use std::sync::Arc;

use kube::Client;
use replica_count_core::kind::Kind;

use crate::cluster::{Cluster, Freshness, Watched};
use crate::guards::Guards;
use crate::guards::summary::Summary;
use crate::kubernetes::probe::Probe;
use crate::kubernetes::standing::Standing;
use crate::leadership::{Holder, Leadership};
use crate::net::http;
use crate::store::Store;

/// Answers probes.
#[derive(Clone)]
pub(super) struct Health {
    pub(super) probe: Probe<Client>,
    pub(super) standing: Standing,
    pub(super) cluster: Arc<Cluster>,
    pub(super) store: Store,
    pub(super) leadership: Leadership,
    pub(super) guards: Arc<Guards>,
    /// The kinds that are managed.
    pub(super) kinds: BTreeSet<Kind>,
}

impl http::Health for Health {
    async fn kubernetes(&self) -> Result<(), String> {
        self.probe.check().await
    }

    /// A settings file is open from the start, so readiness depends on the cluster, and on ReplicaCounts. The server does not wait for a
    /// resource that it may not read, unless it may not read any kind of workload. Once the cluster has been read, the
    /// server stays ready: it answers from memory, and stores settings.
    fn ready(&self) -> Result<(), String> {
        let stored =
            if self.store.is_read() { Ok(()) } else { Err("the settings have not been read yet".to_owned()) };
        stored.and_then(|()| readiness(&self.cluster, &self.kinds)).map_err(|reason| {
            match self.unauthenticated() {
                None => reason,
                Some(cause) => format!("{reason}: {cause}"),
            }
        })
    }

    fn problems(&self) -> Vec<String> {
        let unlocked = unlocked(self.store.is_locked()).map(str::to_owned);
        let guard = Summary::of(&self.guards).problem();
        let stored =
            unlocked.into_iter().chain(self.store.problem()).chain(who_enforces(self.leadership.holder()));
        stored.chain(self.unauthenticated()).chain(guard).collect()
    }
}

/// What follows if the settings could not be locked at the start.
fn unlocked(is_locked: bool) -> Option<&'static str> {
    (!is_locked).then_some("the settings file could not be locked: nothing is enforced")
}

/// Who enforces, if that is somebody of several.
fn who_enforces(holder: Holder) -> Option<String> {
    match holder {
        Holder::Alone => None,
        Holder::This => Some("this server holds the lease, and enforces".to_owned()),
        Holder::Other(other) => Some(format!("{other} holds the lease, and enforces")),
        Holder::Nobody => Some("nobody holds the lease: nothing is enforced".to_owned()),
    }
}

impl Health {
    fn unauthenticated(&self) -> Option<String> {
        let seconds = self.standing.unauthenticated()?.as_secs();
        Some(format!("the API server has not accepted the credentials of this server for {seconds} s"))
    }
}

fn readiness(cluster: &Cluster, kinds: &BTreeSet<Kind>) -> Result<(), String> {
    let view = cluster.view();
    let freshness = |kind: &Kind| view.freshness(Watched::Workloads(*kind));
    if kinds.iter().any(|kind| freshness(kind) == Freshness::Unread) {
        return Err("the cluster has not been read yet".to_owned());
    }
    if !kinds.iter().any(|kind| freshness(kind).is_read()) {
        let kinds: Vec<String> = kinds.iter().map(|kind| format!("{kind}s")).collect();
        return Err(format!("the API server refuses to show {}; see the log", kinds.join(" and ")));
    }
    match view.freshness(Watched::Autoscalers) {
        Freshness::Unread => Err("the autoscalers have not been read yet".to_owned()),
        Freshness::Refused | Freshness::Live | Freshness::Stale { .. } => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_are_not_locked_are_a_problem() {
        assert_eq!(unlocked(true), None);
        assert_eq!(unlocked(false), Some("the settings file could not be locked: nothing is enforced"));
    }

    #[test]
    fn a_kind_is_waited_for_unless_it_is_refused() {
        let (cluster, kinds) = (Cluster::default(), BTreeSet::from(Kind::ALL));
        let [deployments, stateful_sets] = Kind::ALL.map(Watched::Workloads);
        let check = |expected: Option<&str>| {
            let reason = readiness(&cluster, &kinds).err();
            assert!(
                reason.as_deref().map_or(expected.is_none(), |reason| expected
                    .is_some_and(|words| reason.contains(words))),
                "{reason:?}, not {expected:?}"
            );
        };
        cluster.set_refused(Watched::Autoscalers);
        cluster.end_listing(Kind::Deployment);
        check(Some("not been read"));
        cluster.set_refused(stateful_sets);
        check(None);
        cluster.set_refused(deployments);
        check(Some("refuses to show Deployments and StatefulSets"));
        cluster.end_listing(Kind::StatefulSet);
        check(None);
    }
}
