//! What the guard of each namespace holds, as far as is known, and the queue of namespaces whose guard may need work.

mod namespace;
mod proofs;
mod seen;
pub mod summary;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use replica_count_core::damping::{BUDGET, Quiet};
use replica_count_core::guard::{Counts, GuardState, Mode, key};
use replica_count_core::setting::Setting;
use replica_count_core::target::Target;
use tokio::time::Instant;

pub use self::namespace::{Drift, Held, Identity};
use self::namespace::{Namespace, Proven, Writing};
use crate::kubernetes::guard::{Guard, ReplicaGuard};
use crate::work::Work;

/// How long after the start a count waits for what is needed to guard it, before it is repaired without.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The guards of all namespaces. The default is off: nothing is guarded.
#[derive(Debug, Default)]
pub struct Guards {
    /// The name of the guards of this server. `None`: off.
    name: Option<String>,
    started: Option<Instant>,
    /// The namespaces whose guard may need work.
    pub work: Work<Arc<str>>,
    /// The namespaces whose guard may have to be proven.
    pub proofs: Work<Arc<str>>,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// What policies are to do. `None`: not known yet.
    mode: Option<Mode>,
    /// What is missing for the guard to do what it should.
    lack: Option<String>,
    reading: Reading,
    listing: u64,
    namespaces: BTreeMap<Arc<str>, Namespace>,
}

/// Whether the guards can be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Reading {
    #[default]
    NotYet,
    Done,
    /// The API server does not know guards, or a permission is missing.
    Refused,
}

/// How somebody changed a guard.
#[derive(Debug, PartialEq, Eq)]
pub enum Change {
    /// It is as this server wrote it, or as it was.
    None,
    /// Somebody changed or created it.
    Drift {
        /// The field manager. `None`: not known.
        by: Option<String>,
        /// Whether that has happened so often that repairs are delayed.
        is_contested: bool,
    },
    /// It was deleted: by somebody, or with its namespace.
    Deleted,
    /// Somebody suspended it.
    Suspended,
    /// Somebody ended that.
    Resumed,
}

/// What a proof is about.
#[derive(Debug)]
pub struct Subject {
    /// What the API server holds.
    pub counts: Counts,
    /// What policies are to do.
    pub mode: Mode,
    /// The version of the guard, if comparable.
    pub version: Option<u64>,
    /// Whether the last trial has shown that it is not in force.
    pub is_inactive: bool,
    /// When a proof is due. `None`: now.
    pub due: Option<Instant>,
}

/// The guard of a namespace at one point in time, for whoever keeps it.
#[derive(Debug)]
pub struct Snapshot {
    /// What the API server holds.
    pub held: Option<Held>,
    /// What this server wrote last. `None`: nothing, or it deleted the guard.
    pub written: Option<Guard>,
    /// How somebody else has changed the guard, if it is not put back yet.
    pub drift: Option<Drift>,
    /// When a drift may be put back. `None`: now.
    pub next_repair: Option<Instant>,
    /// What to do with other counts.
    pub mode: Mode,
}

impl Guards {
    /// Guards with this name.
    pub fn new(name: String) -> Self {
        Self { name: Some(name), started: Some(Instant::now()), ..Self::default() }
    }

    /// Whether there are guards at all.
    pub fn is_on(&self) -> bool {
        self.name.is_some()
    }

    /// The name of the guards of this server; empty if off.
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }

    /// Whether counts still wait for what is needed to guard them.
    pub fn is_patient(&self) -> bool {
        self.started.is_some_and(|started| started.elapsed() < PATIENCE)
    }

    /// Records what policies are to do; returns whether that is new. Then it has to be proven anew.
    pub fn set_mode(&self, mode: Mode) -> bool {
        let mut inner = self.lock();
        let is_new = inner.mode.replace(mode) != Some(mode);
        if is_new {
            inner.namespaces.values_mut().for_each(|known| known.proof = Proven::NotYet);
        }
        is_new
    }

    /// Records what is missing for the guard to do what it should; returns whether that is new.
    pub fn set_lack(&self, lack: Option<&str>) -> bool {
        let mut inner = self.lock();
        let is_new = inner.lack.as_deref() != lack;
        inner.lack = lack.map(str::to_owned);
        is_new
    }

    /// Records that the guard of a namespace may need work.
    pub fn mark(&self, namespace: &str) {
        if self.is_on() {
            self.mark_where(&Arc::from(namespace), |_| true);
        }
    }

    /// The same, if the namespace has no guard: it may be new. What failed is tried again by the clock.
    pub fn mark_without_guard(&self, namespace: &str) {
        if self.is_on() {
            self.mark_where(&Arc::from(namespace), |known| known.held.is_none() && known.failures == 0);
        }
    }

    fn mark_where(&self, namespace: &Arc<str>, matches: impl Fn(&Namespace) -> bool) {
        let mut inner = self.lock();
        let known = inner.namespaces.entry(Arc::clone(namespace)).or_default();
        if !matches(known) {
            return;
        }
        let now = Instant::now();
        known.changed_at.get_or_insert(now);
        known.changed_since.get_or_insert(now);
        drop(inner);
        self.work.mark(Arc::clone(namespace));
    }

    /// Marks all namespaces with a guard.
    pub fn mark_all(&self) {
        let namespaces: Vec<_> = self.lock().namespaces.keys().cloned().collect();
        for namespace in namespaces {
            self.mark_where(&namespace, |_| true);
        }
    }

    /// Whether the API server keeps the count of a target.
    pub fn state_of(&self, target: &Target, setting: &Setting, is_autoscaled: bool) -> GuardState {
        self.state_in(&self.lock(), target, setting, is_autoscaled)
    }

    /// The same for people: what is not proven is not in force.
    pub fn proven_state_of(&self, target: &Target, setting: &Setting, is_autoscaled: bool) -> GuardState {
        let inner = self.lock();
        let known = inner.namespaces.get(target.namespace());
        match self.state_in(&inner, target, setting, is_autoscaled) {
            GuardState::InForce(_) if !known.is_some_and(Namespace::is_proven) => GuardState::Behind,
            state => state,
        }
    }

    fn state_in(&self, inner: &Inner, target: &Target, setting: &Setting, is_autoscaled: bool) -> GuardState {
        if !self.is_on() {
            return GuardState::Unguarded;
        }
        let known = inner.namespaces.get(target.namespace());
        let guard = known.and_then(|known| Some(&known.held.as_ref()?.guard));
        if guard.is_some_and(|guard| guard.is_suspended) {
            return GuardState::Suspended;
        }
        match (inner.reading, inner.mode) {
            (Reading::NotYet, _) | (Reading::Done, None) if self.is_patient() => return GuardState::Behind,
            (Reading::Done, Some(_)) if !is_autoscaled => {}
            (Reading::NotYet | Reading::Refused | Reading::Done, _) => return GuardState::Unguarded,
        }
        let kept = guard.and_then(|guard| guard.counts.get(&key(target)));
        match (kept, known) {
            (Some(kept), Some(known)) if kept.replicas == setting.replicas => {
                match (known.proof, guard.and_then(|guard| guard.mode)) {
                    (Proven::Inactive, _) | (_, None) => GuardState::Unguarded,
                    (Proven::NotYet | Proven::Active(_) | Proven::Doubted, Some(mode)) => {
                        GuardState::InForce(mode)
                    }
                }
            }
            (None, Some(known)) if known.is_full => GuardState::Unguarded,
            (_, Some(known)) if known.is_about_to_change() => GuardState::Behind,
            _ => GuardState::Unguarded,
        }
    }

    /// Whether the guard of a namespace is suspended.
    pub fn is_suspended(&self, namespace: &str) -> bool {
        let inner = self.lock();
        let held = inner.namespaces.get(namespace).and_then(|known| known.held.as_ref());
        held.is_some_and(|held| held.guard.is_suspended)
    }

    /// What whoever keeps the guard of `namespace` needs. `None`: nothing can be kept now.
    pub fn snapshot(&self, namespace: &str) -> Option<Snapshot> {
        let mut inner = self.lock();
        let mode = inner.mode.filter(|_| inner.reading == Reading::Done)?;
        let known = inner.namespaces.entry(Arc::from(namespace)).or_default();
        known.changed_since = None;
        let next_repair = known.damping.contested().map(|contested| contested.next_repair.into());
        Some(Snapshot {
            held: known.held.clone(),
            written: known.written.clone(),
            drift: known.drift.clone(),
            next_repair: next_repair.filter(|next| *next > Instant::now()),
            mode,
        })
    }

    /// Records that this server begins to write a guard, or to delete one.
    pub fn record_writing(&self, namespace: &str, guard: Option<&Guard>) {
        if let Some(known) = self.lock().namespaces.get_mut(namespace) {
            known.writing = guard.map_or(Writing::Deletion, |guard| Writing::Guard(guard.clone()));
        }
    }

    /// Records that the API server holds `written`, or no guard, since a write of this server.
    pub fn record_written(&self, namespace: &str, written: Option<&ReplicaGuard>) {
        let mut inner = self.lock();
        let Some(known) = inner.namespaces.get_mut(namespace) else { return };
        known.written = written.map(ReplicaGuard::guard);
        known.drift = None;
        match written {
            // The watch may show older versions, and then the deletion.
            None => known.held = None,
            // The watch may have shown a later change.
            Some(written) if written.version() >= known.seen => {
                known.writing = Writing::Nothing;
                known.held = Some(Held::of(written));
            }
            Some(_) => known.writing = Writing::Nothing,
        }
    }

    /// Records that this server did not write after all, because the guard has changed meanwhile.
    pub fn record_not_written(&self, namespace: &str) {
        if let Some(known) = self.lock().namespaces.get_mut(namespace) {
            known.writing = Writing::Nothing;
        }
    }

    /// Records that this server puts back what somebody else has changed. Returns how long the next repair waits, if this
    /// makes the guard contested.
    pub fn record_repair(&self, namespace: &str, jitter: f64) -> Option<Duration> {
        let mut inner = self.lock();
        let damping = &mut inner.namespaces.get_mut(namespace)?.damping;
        let (now, was_contested) = (Instant::now().into_std(), damping.contested().is_some());
        damping.record_conflict(BUDGET, now, jitter);
        let contested = damping.contested().filter(|_| !was_contested)?;
        Some(contested.next_repair.saturating_duration_since(now))
    }

    /// Records that the guard of a namespace is as wanted. Returns what that means for a fight over it.
    pub fn record_quiet(&self, namespace: &str) -> Quiet {
        let mut inner = self.lock();
        let Some(known) = inner.namespaces.get_mut(namespace) else { return Quiet::None };
        known.drift = None;
        known.damping.record_quiet(Instant::now().into_std())
    }

    /// Records that there is no place for the guard of a namespace: nothing is late, and nobody need be told that it is
    /// gone.
    pub fn record_no_place(&self, namespace: &str) {
        if let Some(known) = self.lock().namespaces.get_mut(namespace) {
            (known.drift, known.changed_at) = (None, known.changed_since);
        }
    }

    /// Records that everything of the last snapshot is kept, or all that there is room for. Later marks still need work.
    pub fn record_kept(&self, namespace: &str, is_full: bool) {
        let mut inner = self.lock();
        let Some(known) = inner.namespaces.get_mut(namespace) else { return };
        known.failures = 0;
        known.is_full = is_full;
        known.changed_at = known.changed_since;
        let is_contested = known.damping.contested().is_some();
        if known.changed_at.is_none() && known.held.is_none() && !is_contested {
            inner.namespaces.remove(namespace);
        }
    }

    /// Records that another server keeps the guard of a namespace: nothing is late, and no change is a drift.
    pub fn record_kept_by_other(&self, namespace: &str) {
        if let Some(known) = self.lock().namespaces.get_mut(namespace) {
            known.follow();
        }
    }

    /// A term begins: what is held now is what an earlier one left.
    pub fn begin_term(&self) {
        self.lock().namespaces.values_mut().for_each(Namespace::follow);
        self.mark_all();
    }

    /// Records that the guard of a namespace could not be kept; returns how often in a row.
    pub fn record_failure(&self, namespace: &str) -> u32 {
        let mut inner = self.lock();
        let Some(known) = inner.namespaces.get_mut(namespace) else { return 0 };
        known.failures = known.failures.saturating_add(1);
        known.failures
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use replica_count_core::damping::QUIET;
    use replica_count_core::guard::Kept;
    use replica_count_core::replicas::Replicas;
    use serde_json::json;

    use super::summary::Summary;
    use super::*;

    const INTERVAL: Duration = Duration::from_mins(1);

    fn target() -> Target {
        Target::deployment("shop", "web").unwrap()
    }

    fn setting(replicas: i32) -> Setting {
        Setting::of(Replicas::new(replicas).unwrap())
    }

    fn object(version: u64, replicas: i32, is_suspended: bool) -> ReplicaGuard {
        let counts = json!({ "deployments/web": { "replicas": replicas } });
        let metadata =
            json!({ "namespace": "shop", "name": "g", "resourceVersion": version.to_string(), "uid": "u" });
        let spec = json!({ "mode": "correct", "how": "", "suspended": is_suspended, "counts": counts });
        serde_json::from_value(json!({ "metadata": metadata, "spec": spec })).unwrap()
    }

    fn guard(replicas: i32) -> Guard {
        let kept = Kept { replicas: Replicas::new(replicas).unwrap(), set_by: None, reason: None };
        let counts = Counts::from([(key(&target()), kept)]);
        Guard { mode: Some(Mode::Correct), is_suspended: false, how: String::new(), counts }
    }

    /// Guards that were read, where somebody has changed the setting.
    fn marked() -> Guards {
        let guards = Guards::new("g".to_owned());
        guards.set_mode(Mode::Correct);
        guards.begin_listing();
        guards.end_listing();
        guards.mark("shop");
        guards
    }

    #[track_caller]
    fn check(guards: &Guards, replicas: i32, expected: GuardState) {
        assert_eq!(guards.state_of(&target(), &setting(replicas), false), expected);
    }

    #[tokio::test]
    async fn a_count_waits_for_its_guard() {
        let unread = Guards::new("g".to_owned());
        check(&unread, 3, GuardState::Behind);
        check(&Guards::default(), 3, GuardState::Unguarded);

        let guards = marked();
        check(&guards, 3, GuardState::Behind);
        guards.snapshot("shop").unwrap();
        guards.record_written("shop", Some(&object(7, 3, false)));
        guards.record_kept("shop", false);
        check(&guards, 3, GuardState::InForce(Mode::Correct));
        check(&guards, 4, GuardState::Unguarded);
        guards.mark("shop");
        check(&guards, 4, GuardState::Behind);
        assert_eq!(guards.state_of(&target(), &setting(3), true), GuardState::Unguarded, "autoscaled");

        guards.record_failure("shop");
        check(&guards, 4, GuardState::Unguarded);
        guards.record_inactive("shop", Some(7));
        check(&guards, 3, GuardState::Unguarded);
        assert!(guards.record_active("shop", Some(7)));
        check(&guards, 3, GuardState::InForce(Mode::Correct));
        guards.set_refused();
        check(&guards, 3, GuardState::Unguarded);
    }

    #[tokio::test(start_paused = true)]
    async fn only_the_version_that_was_tried_is_proven() {
        let guards = marked();
        assert!(guards.subject("shop", INTERVAL).is_none(), "nothing is held");
        guards.record_written("shop", Some(&object(7, 3, false)));
        let subject = guards.subject("shop", INTERVAL).unwrap();
        assert_eq!((subject.version, subject.due, subject.is_inactive), (Some(7), None, false));
        guards.record_writing("shop", Some(&guard(4)));
        assert!(guards.subject("shop", INTERVAL).is_none(), "it changes");
        guards.record_written("shop", Some(&object(8, 4, false)));
        assert_eq!(guards.record_inactive("shop", subject.version), 0);
        assert!(!guards.record_active("shop", subject.version));
        guards.set_mode(Mode::Warn);
        assert!(!guards.record_active("shop", Some(8)), "it has another mode than is wanted by now");
        guards.set_mode(Mode::Correct);
        assert!(guards.record_active("shop", Some(8)));
        let due = guards.subject("shop", INTERVAL).unwrap().due;
        assert_eq!(due, Some(Instant::now() + INTERVAL));
        tokio::time::advance(INTERVAL).await;
        assert_eq!(guards.subject("shop", INTERVAL).unwrap().due, None);
        guards.observe(&object(9, 9, false));
        assert!(guards.subject("shop", INTERVAL).is_none(), "somebody has changed it");
        guards.observe(&object(10, 4, true));
        assert!(guards.subject("shop", INTERVAL).is_none(), "suspended");
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_connection_makes_a_proof_due() {
        let guards = marked();
        guards.snapshot("shop").unwrap();
        guards.record_written("shop", Some(&object(7, 3, false)));
        guards.record_kept("shop", false);
        assert!(guards.record_active("shop", Some(7)));
        let proven = |guards: &Guards| guards.proven_state_of(&target(), &setting(3), false);
        assert_eq!(proven(&guards), GuardState::InForce(Mode::Correct));

        guards.doubt_all();
        assert_eq!(proven(&guards), GuardState::Behind);
        assert_eq!(guards.subject("shop", INTERVAL).unwrap().due, None);
        assert!(!guards.record_active("shop", Some(7)), "that is no news");
        assert_eq!(proven(&guards), GuardState::InForce(Mode::Correct));

        guards.record_inactive("shop", Some(7));
        guards.doubt_all();
        check(&guards, 3, GuardState::Unguarded);
    }

    #[tokio::test]
    async fn a_mark_during_the_work_is_kept() {
        let guards = marked();
        guards.snapshot("shop").unwrap();
        guards.mark("shop");
        guards.record_written("shop", Some(&object(7, 3, false)));
        guards.record_kept("shop", false);
        check(&guards, 4, GuardState::Behind);
    }

    #[tokio::test]
    async fn only_what_others_write_is_a_drift() {
        let guards = marked();
        guards.record_written("shop", Some(&object(7, 3, false)));
        assert_eq!(guards.observe(&object(7, 3, false)), Change::None);

        // The watch may be faster than the answer.
        guards.record_writing("shop", Some(&guard(4)));
        assert_eq!(guards.observe(&object(8, 4, false)), Change::None);
        guards.record_written("shop", Some(&object(8, 4, false)));

        assert_eq!(guards.observe(&object(9, 5, false)), drift(false));
        assert_eq!(guards.observe(&object(8, 4, false)), Change::None, "an older version");
        assert_eq!(guards.observe(&object(10, 4, true)), Change::Suspended);
        check(&guards, 4, GuardState::Suspended);
        assert_eq!(guards.observe(&object(11, 4, false)), Change::Resumed);

        guards.record_writing("shop", None);
        assert_eq!(guards.remove(&object(12, 4, false)), Change::None);
        guards.record_written("shop", None);
        guards.record_written("shop", Some(&object(13, 4, false)));
        assert_eq!(guards.remove(&object(14, 4, false)), Change::Deleted);
        assert_eq!(guards.remove(&object(14, 4, false)), Change::None, "it was gone");
        guards.record_written("shop", None);
        assert_eq!(guards.observe(&object(15, 9, false)), drift(false), "somebody made it");
    }

    fn drift(is_contested: bool) -> Change {
        Change::Drift { by: None, is_contested }
    }

    #[tokio::test(start_paused = true)]
    async fn a_fight_over_a_guard_is_damped() {
        let guards = marked();
        guards.record_written("shop", Some(&object(1, 3, false)));
        for version in 1..=u64::from(BUDGET) {
            assert_eq!(guards.snapshot("shop").unwrap().next_repair, None, "{version}");
            assert_eq!(guards.observe(&object(2 * version, 9, false)), drift(false));
            assert_eq!(guards.snapshot("shop").unwrap().drift, Some(Drift::Content { by: None }));
            let is_last = version == u64::from(BUDGET);
            assert_eq!(guards.record_repair("shop", 0.0).is_some(), is_last, "told once");
            guards.record_written("shop", Some(&object(2 * version + 1, 3, false)));
        }
        assert_eq!(guards.observe(&object(99, 9, false)), drift(true));
        assert!(guards.snapshot("shop").unwrap().next_repair.is_some());
        guards.mark("shop");
        check(&guards, 3, GuardState::Unguarded);
        assert_eq!(Summary::of(&guards).contested, 1);
        assert!(Summary::of(&guards).problem().unwrap().contains("contested in 1"));
        assert_eq!(guards.record_repair("shop", 0.0), None, "told once");
        assert!(matches!(guards.record_quiet("shop"), Quiet::EndsAt(_)));
        assert_eq!(guards.snapshot("shop").unwrap().drift, None);
        tokio::time::advance(QUIET).await;
        assert_eq!(guards.record_quiet("shop"), Quiet::Ended);
        assert_eq!(Summary::of(&guards).contested, 0);
        assert_eq!(guards.record_repair("shop", 0.0), None, "with a full budget");
    }
}
