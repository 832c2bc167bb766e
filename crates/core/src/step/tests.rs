use std::num::NonZeroU64;

use super::*;
use crate::damping::{BUDGET, QUIET};
use crate::decide::Method;
use crate::failures::WRITE_DEADLINES;
use crate::guard::Mode;
use crate::managed_fields::{FieldOwner, Operation, Writer};
use crate::observed::Observed;
use crate::own_writes::FIELD_MANAGER;
use crate::pods::LATE;
use crate::record::InEffect;
use crate::replicas::Replicas;
use crate::setting::{Enforcement, Hold};
use crate::state::State;
use crate::steady::{MEMORY, QUIET_PERIODS, ROUNDS_TO_NOTICE, SteadyConflict};

const SECOND: Duration = Duration::from_secs(1);

fn count(n: i32) -> Replicas {
    Replicas::new(n).expect("valid")
}

/// A target that desires 3, which was in effect.
struct Scene {
    record: Record,
    setting: Arc<Setting>,
    observed: Option<Observed>,
    autoscaler: Option<Arc<str>>,
    guard_state: GuardState,
    now: Now,
}

impl Scene {
    fn new() -> Self {
        Self {
            record: Record { in_effect: InEffect::Was(count(3)), ..Record::default() },
            setting: Arc::new(Setting { generation: 7, ..Setting::of(count(3)) }),
            observed: None,
            autoscaler: None,
            guard_state: GuardState::Unguarded,
            now: Now { wall: Timestamp::UNIX_EPOCH, monotonic: Instant::now() },
        }
    }

    /// The cluster has this count, set by kubectl.
    fn observing(mut self, replicas: i32) -> Self {
        self.observe(replicas);
        self
    }

    fn observe(&mut self, replicas: i32) {
        self.observe_by(Some("kubectl"), replicas);
    }

    fn observe_by(&mut self, manager: Option<&str>, replicas: i32) {
        let owner = manager.map(|manager| {
            let writer = Writer { manager: manager.into(), operation: Operation::Update, subresource: None };
            FieldOwner { writer: Arc::new(writer), time: None }
        });
        self.observed = Some(Observed {
            uid: "u".into(),
            resource_version: NonZeroU64::new(1),
            replicas: count(replicas),
            ready: 0,
            ready_before: 0,
            deleting: false,
            owner,
        });
    }

    fn state(&self) -> State {
        let target = Target::deployment("shop", "web").expect("valid");
        let observation = self.observed.as_ref().map_or(Observation::Absent, Observation::Present);
        let conflict = self.record.conflict_state();
        let (setting, policy, now) = (Some(&*self.setting), Policy::default(), self.now.wall);
        let is_suspended = self.guard_state == GuardState::Suspended;
        State::of(&target, setting, observation, conflict, &policy, is_suspended, now)
    }

    /// After some time, the count drifts, is repaired at once, and is in effect; returns what the steps report of
    /// steady conflicts, and when the next step is due.
    fn round(&mut self, after: Duration) -> (Vec<SteadyConflict>, Option<Instant>) {
        self.advance(after);
        self.observe(5);
        let Step { next: Next::Write(repair), events: drifted } = self.step(None) else { panic!("no write") };
        let repaired = self.step(Some((&repair, WRITTEN)));
        self.observe(3);
        assert_eq!(self.state(), State::InSync);
        let settled = self.step(None);
        let events = drifted.into_iter().chain(repaired.events).chain(settled.events);
        let steady = events.filter_map(|event| match event.kind {
            EventKind::SteadyConflict(conflict) => Some(conflict),
            EventKind::Drifted { is_contested: false, .. } | EventKind::Repaired { .. } => None,
            other => panic!("{other:?}"),
        });
        let due = match settled.next {
            Next::RequeueAt(due) => Some(due),
            Next::AwaitChange => None,
            Next::Write(repair) => panic!("{repair:?}"),
        };
        (steady.collect(), due)
    }

    fn advance(&mut self, time: Duration) {
        self.now.monotonic += time;
        self.now.wall += time;
    }

    fn step(&mut self, write: Option<(&Repair, Outcome)>) -> Step {
        let target = Target::deployment("shop", "web").expect("valid");
        let observation = self.observed.as_ref().map_or(Observation::Absent, Observation::Present);
        let cause = match write {
            Some((repair, outcome)) => Cause::WriteEnded { repair, outcome },
            None => Cause::Due {
                setting: &self.setting,
                observation,
                autoscaler: self.autoscaler.as_ref(),
                guard_state: self.guard_state,
            },
        };
        let step = step(&mut self.record, &target, cause, &Policy::default(), self.now, 1.0);
        for event in &step.events {
            assert_eq!((&event.target, event.at, event.generation), (&target, self.now.wall, Some(7)));
        }
        step
    }

    /// Makes the step of a due target.
    #[track_caller]
    fn due(&mut self, next: &str, events: &[&str]) -> Option<Repair> {
        let step = self.step(None);
        check(&step, next, events);
        match step.next {
            Next::Write(repair) => Some(repair),
            Next::AwaitChange | Next::RequeueAt(_) => None,
        }
    }

    /// Makes the step after a write.
    #[track_caller]
    fn write_ended(&mut self, repair: &Repair, outcome: Outcome, next: &str, events: &[&str]) {
        check(&self.step(Some((repair, outcome))), next, events);
    }

    /// A temporary count is set.
    fn hold(&mut self, replicas: i32, until: Timestamp, afterwards: Option<i32>) {
        let hold = Some(Hold { until, afterwards: afterwards.map(count) });
        self.setting = Arc::new(Setting { generation: 7, hold, ..Setting::of(count(replicas)) });
        self.record.record_setting(count(replicas));
    }

    /// The desired count drifts and is repaired, while the next step is due at some time.
    #[track_caller]
    fn repair_of(&mut self, desired: i32, drifted_to: i32, events: &[&str]) {
        self.observe(drifted_to);
        let repair = self.due("write", &["drifted"]).expect("a write");
        assert_eq!(repair.to, count(desired));
        self.write_ended(&repair, WRITTEN, "requeue", events);
        self.observe(desired);
        self.due("requeue", &[]);
    }

    /// The count drifts and is repaired at once.
    #[track_caller]
    fn repair(&mut self, drifted_to: i32, events: &[&str]) {
        self.observe(drifted_to);
        let repair = self.due("write", &["drifted"]).expect("a write");
        self.write_ended(&repair, WRITTEN, "await change", events);
        self.observe(3);
    }
}

#[test]
fn a_drift_lasts_from_its_first_sight_to_its_repair() {
    let mut scene = Scene::new().observing(5);
    let repair = scene.due("write", &["drifted"]).expect("a write");
    scene.advance(SECOND);
    scene.write_ended(&repair, failed(Failure::Failed), "requeue", &["write failed, warning"]);
    scene.advance(SECOND * 60);
    let repair = scene.due("write", &[]).expect("a write");
    scene.advance(SECOND / 2);
    let step = scene.step(Some((&repair, WRITTEN)));
    let EventKind::Repaired { took, lasted, .. } = step.events[0].kind else { panic!("{step:?}") };
    assert_eq!((took, lasted), (SECOND, SECOND * 61 + SECOND / 2));
}

#[test]
fn nothing_is_written_before_the_guard_has_the_count() {
    let mut scene = Scene::new().observing(5);
    scene.guard_state = GuardState::Behind;
    scene.due("await change", &["drifted"]);
    scene.guard_state = GuardState::InForce(Mode::Correct);
    let repair = scene.due("write", &[]).expect("a write");
    assert_eq!(repair.method, Method::Guarded);
    scene.write_ended(&repair, WRITTEN, "await change", &["repaired"]);

    let mut scene = Scene::new().observing(5);
    scene.guard_state = GuardState::Suspended;
    scene.due("await change", &["drifted"]);
}

const WRITTEN: Outcome = Outcome::Written { took: SECOND };

fn failed(failure: Failure) -> Outcome {
    Outcome::Failed(WriteError::new(failure, Some(500), "failed".into()))
}

#[track_caller]
fn check(step: &Step, next: &str, events: &[&str]) {
    let actual = match step.next {
        Next::AwaitChange => "await change",
        Next::RequeueAt(_) => "requeue",
        Next::Write(_) => "write",
    };
    let names: Vec<&str> = step.events.iter().map(name).collect();
    assert_eq!((actual, &names[..]), (next, events));
}

fn name(event: &Event) -> &'static str {
    match &event.kind {
        EventKind::Set { .. } => "set",
        EventKind::Deleted { .. } => "deleted",
        EventKind::EnforcementSet { .. } => "enforcement set",
        EventKind::HoldEnded { to: Some(_), .. } => "hold ended",
        EventKind::HoldEnded { to: None, .. } => "hold ended, unmanaged",
        EventKind::Drifted { is_contested: false, .. } => "drifted",
        EventKind::Drifted { is_contested: true, .. } => "drifted, contested",
        EventKind::AnotherServer { .. } => "another server",
        EventKind::Repaired { .. } => "repaired",
        EventKind::PodsLost { .. } => "pods lost",
        EventKind::LateCost(_) => "late cost",
        EventKind::Applied { .. } => "applied",
        EventKind::Resolved { how, .. } => how.as_str(),
        EventKind::Contested { .. } => "contested",
        EventKind::Calmed => "calmed",
        EventKind::SteadyConflict(_) => "steady conflict",
        EventKind::SteadyConflictEnded => "steady conflict ended",
        EventKind::Missing => "missing",
        EventKind::Autoscaled { autoscaler: Some(_) } => "autoscaled",
        EventKind::Autoscaled { autoscaler: None } => "no longer autoscaled",
        EventKind::WriteFailed(failure) if failure.should_warn => "write failed, warning",
        EventKind::WriteFailed(_) => "write failed",
    }
}

#[test]
fn a_drift_is_reported_once_and_repaired() {
    let mut scene = Scene::new().observing(5);
    let repair = scene.due("write", &["drifted"]).expect("a write");
    assert_eq!((repair.from, repair.to, repair.generation), (count(5), count(3), 7));
    scene.due("write", &[]);
    scene.write_ended(&repair, WRITTEN, "await change", &["repaired"]);
    scene.observe(3);
    scene.due("await change", &[]);
    assert_eq!(scene.record.drift_count, 1);
}

#[test]
fn a_new_setting_is_applied_and_resolves_the_drift_from_the_one_before() {
    let mut scene = Scene::new().observing(5);
    scene.due("write", &["drifted"]);
    Arc::make_mut(&mut scene.setting).replicas = count(4);
    scene.record.record_setting(count(4));
    let repair = scene.due("write", &[]).expect("a write");
    scene.write_ended(&repair, WRITTEN, "await change", &["applied", "new_setting"]);
}

#[test]
fn a_temporary_count_is_in_force_until_its_time() {
    let mut scene = Scene::new().observing(3);
    let until = scene.now.wall + 90 * SECOND;
    scene.hold(9, until, Some(3));
    let repair = scene.due("write", &[]).expect("a write");
    assert_eq!((repair.to, &repair.drift), (count(9), &None));
    // Also if no event follows.
    let written = scene.step(Some((&repair, WRITTEN)));
    assert_eq!(written.next, Next::RequeueAt(scene.now.monotonic + 60 * SECOND));
    scene.observe(9);
    scene.advance(60 * SECOND);
    assert_eq!(scene.step(None).next, Next::RequeueAt(scene.now.monotonic + 30 * SECOND));
    scene.repair_of(9, 5, &["repaired"]);
    scene.advance(30 * SECOND);
    let repair = scene.due("write", &["hold ended"]).expect("a write");
    assert_eq!((repair.from, repair.to, &repair.drift), (count(9), count(3), &None));
    scene.write_ended(&repair, WRITTEN, "await change", &["applied"]);
    scene.observe(3);
    scene.due("await change", &[]);

    // The clock is set back: it is in force again.
    scene.now.wall -= 10 * SECOND;
    let repair = scene.due("write", &[]).expect("a write");
    assert_eq!((repair.to, repair.drift), (count(9), None));

    // Another process only knows what is stored.
    scene.record = Record::of_stored_setting(count(3));
    scene.now.wall = until;
    scene.observe_by(Some(FIELD_MANAGER), 9);
    let repair = scene.due("write", &[]).expect("a write");
    assert_eq!((repair.to, repair.drift), (count(3), None));
}

#[test]
fn a_target_is_unmanaged_again_after_its_only_count() {
    let mut scene = Scene::new().observing(3);
    let until = scene.now.wall + SECOND;
    scene.hold(3, until, None);
    scene.due("requeue", &[]);
    scene.repair_of(3, 5, &["repaired"]);
    scene.observe(5);
    scene.due("write", &["drifted"]);
    scene.advance(SECOND);
    let step = scene.step(None);
    check(&step, "await change", &["hold ended, unmanaged", "no_longer_managed"]);
    let EventKind::Resolved { drift, .. } = &step.events[1].kind else { panic!("{step:?}") };
    assert_eq!((drift.from, drift.to), (count(3), count(5)));
    assert_eq!(scene.record, Record::default());
    scene.due("await change", &[]);

    // Without a drift.
    let mut scene = Scene::new().observing(3);
    scene.hold(3, until, None);
    scene.due("requeue", &[]);
    scene.now.wall = until;
    scene.due("await change", &["hold ended, unmanaged"]);

    // A count that replaces a temporary one is not its end.
    let mut scene = Scene::new().observing(3);
    scene.hold(3, until + SECOND, None);
    scene.due("requeue", &[]);
    scene.setting = Arc::new(Setting { generation: 7, ..Setting::of(count(3)) });
    scene.advance(10 * SECOND);
    scene.due("await change", &[]);
}

#[test]
fn what_a_drift_costs_is_told_even_after_its_repair() {
    let pods = |scene: &mut Scene, replicas, ready, ready_before| {
        scene.observe(replicas);
        scene.observed = scene.observed.take().map(|observed| Observed { ready, ready_before, ..observed });
    };
    let mut scene = Scene::new();
    pods(&mut scene, 0, 2, 3);
    let repair = scene.due("write", &["drifted", "pods lost"]).expect("a write");
    let step = scene.step(Some((&repair, WRITTEN)));
    check(&step, "requeue", &["repaired"]);
    assert!(matches!(step.events[0].kind, EventKind::Repaired { pods_lost: 1, .. }), "{step:?}");
    pods(&mut scene, 3, 0, 2);
    scene.due("requeue", &["pods lost"]);
    pods(&mut scene, 3, 3, 2);
    let step = scene.step(None);
    check(&step, "await change", &["late cost"]);
    assert!(matches!(step.events[0].kind, EventKind::LateCost(LateCost { pods_lost: 3, .. })), "{step:?}");
    assert_eq!(scene.record.pods.lost(), 3);

    // The next drift costs nothing, which takes some time to be known.
    pods(&mut scene, 5, 3, 3);
    let repair = scene.due("write", &["drifted"]).expect("a write");
    scene.write_ended(&repair, WRITTEN, "requeue", &["repaired"]);
    pods(&mut scene, 3, 3, 3);
    scene.due("requeue", &[]);
    scene.advance(LATE);
    scene.due("await change", &[]);
    assert_eq!(scene.record.pods.lost(), 0);
}

#[test]
fn a_drift_is_resolved_without_us_or_replaced_by_another() {
    let mut scene = Scene::new().observing(5);
    scene.due("write", &["drifted"]);
    scene.observe(6);
    scene.due("write", &["drifted_again", "drifted"]);
    scene.observe(3);
    scene.due("await change", &["in_sync"]);
}

#[test]
fn another_server_under_our_name_is_reported() {
    let mut scene = Scene::new();
    scene.observe_by(Some(FIELD_MANAGER), 7);
    let repair = scene.due("write", &["drifted", "another server"]).expect("a write");
    scene.due("write", &[]);
    scene.write_ended(&repair, WRITTEN, "await change", &["repaired"]);
    assert_eq!(scene.record.last_drift.as_ref().map(Drift::manager), Some(FIELD_MANAGER));

    // The other server answers it before the watch shows that it is in effect.
    let repair = scene.due("write", &["drifted", "another server"]).expect("a write");
    scene.write_ended(&repair, failed(Failure::Deadline), "requeue", &["write failed, warning"]);
    scene.observe_by(Some(FIELD_MANAGER), 9);
    scene.advance(SECOND);
    scene.due("write", &["drifted_again", "drifted"]);
}

#[test]
fn a_write_that_is_not_sent_does_not_hide_another_server() {
    let mut scene = Scene::new().observing(5);
    scene.due("write", &["drifted"]);
    scene.observe_by(Some(FIELD_MANAGER), 7);
    scene.due("write", &["drifted_again", "drifted", "another server"]);
}

#[test]
fn a_count_that_a_policy_made_of_ours_is_nobodys() {
    let mut scene = Scene::new().observing(7);
    let repair = scene.due("write", &["drifted"]).expect("a write");
    let altered = Outcome::of_write(&repair, count(4), SECOND);
    scene.write_ended(&repair, altered, "requeue", &["write failed, warning"]);
    scene.observe_by(Some(FIELD_MANAGER), 2);
    scene.advance(SECOND);
    scene.due("write", &["drifted_again", "drifted"]);
    assert_eq!(scene.record.last_drift.as_ref().map(Drift::manager), Some(""));
}

#[test]
fn a_late_write_of_an_earlier_setting_is_nobodys() {
    let mut scene = Scene::new();
    scene.observe_by(Some(FIELD_MANAGER), 3);
    Arc::make_mut(&mut scene.setting).replicas = count(5);
    let repair = scene.due("write", &[]).expect("a write");
    scene.write_ended(&repair, failed(Failure::Deadline), "requeue", &["write failed, warning"]);
    Arc::make_mut(&mut scene.setting).replicas = count(3);
    scene.record.record_setting(count(3));
    scene.due("await change", &[]);
    scene.observe_by(Some(FIELD_MANAGER), 5);
    scene.due("write", &["drifted"]);
    assert_eq!(scene.record.last_drift.as_ref().map(Drift::manager), Some(""));
}

#[test]
fn a_count_that_admission_made_of_ours_is_no_new_drift_after_other_failures() {
    let mut scene = Scene::new().observing(5);
    let repair = scene.due("write", &["drifted"]).expect("a write");
    scene.write_ended(&repair, failed(Failure::Deadline), "requeue", &["write failed, warning"]);
    assert_eq!(scene.record.write_deadline(), WRITE_DEADLINES[1]);
    let altered = || Outcome::of_write(&repair, count(4), SECOND);
    scene.write_ended(&repair, altered(), "requeue", &["write failed, warning"]);
    assert_eq!(scene.record.write_deadline(), WRITE_DEADLINES[0], "it was fast");

    scene.observe_by(Some(FIELD_MANAGER), 4);
    for failure in [Failure::Forbidden, Failure::Failed] {
        scene.advance(SECOND);
        let repair = scene.due("write", &[]).expect("a write");
        scene.write_ended(&repair, failed(failure), "requeue", &["write failed, warning"]);
    }
    assert_eq!(scene.record.drift_count, 1);
    scene.observed.as_mut().expect("present").uid = "v".into();
    scene.due("write", &["drifted_again", "drifted"]);
}

#[test]
fn an_apply_that_a_write_of_the_status_makes_stale_is_no_conflict() {
    let mut scene = Scene::new();
    scene.autoscaler = Some("HorizontalPodAutoscaler/web".into());
    scene.observe_by(None, 5);
    let repair = scene.due("write", &["autoscaled", "drifted"]).expect("a write");
    assert!(matches!(repair.method, Method::Apply { .. }));
    scene.write_ended(&repair, failed(Failure::Stale), "requeue", &["write failed"]);
    let repair = scene.due("write", &[]).expect("a write");
    scene.write_ended(&repair, WRITTEN, "await change", &["repaired", "contested"]);
}

#[test]
fn failures_back_off_and_warn_once() {
    let mut scene = Scene::new().observing(5);
    let repair = scene.due("write", &["drifted"]).expect("a write");
    scene.write_ended(&repair, failed(Failure::Forbidden), "requeue", &["write failed, warning"]);
    scene.due("requeue", &[]);
    scene.advance(SECOND);
    scene.due("write", &[]);
    scene.write_ended(&repair, failed(Failure::Forbidden), "requeue", &["write failed"]);
}

#[test]
fn an_unacknowledged_write_may_have_been_ours() {
    let mut scene = Scene::new().observing(5);
    scene.autoscaler = Some("HorizontalPodAutoscaler/web".into());
    let repair = scene.due("write", &["autoscaled", "drifted"]).expect("a write");
    scene.write_ended(&repair, failed(Failure::Deadline), "requeue", &["write failed, warning"]);
    scene.observe(3);
    scene.due("requeue", &["contested", "in_sync"]);
}

#[test]
fn a_conflict_is_reported_once_until_it_ends() {
    let mut scene = Scene::new();
    for _ in 1..BUDGET {
        scene.repair(5, &["repaired"]);
        scene.due("await change", &[]);
    }
    scene.repair(5, &["repaired", "contested"]);
    scene.due("requeue", &[]);
    scene.observe(6);
    scene.due("requeue", &["drifted, contested"]);
    scene.advance(11 * SECOND);
    let repair = scene.due("write", &[]).expect("a write");
    scene.write_ended(&repair, WRITTEN, "await change", &["repaired", "steady conflict"]);
    scene.observe(3);
    scene.due("requeue", &[]);
    scene.advance(QUIET);
    scene.due("await change", &["calmed", "steady conflict ended"]);
    scene.repair(5, &["repaired"]);
}

#[test]
fn a_missing_workload_is_reported_once() {
    let mut scene = Scene::new();
    scene.due("await change", &["missing"]);
    scene.due("await change", &[]);
    scene.observe(3);
    scene.due("await change", &[]);
    scene.observed.as_mut().expect("present").deleting = true;
    scene.due("await change", &["missing"]);
}

#[test]
fn an_autoscaler_is_reported_when_it_appears_and_when_it_disappears() {
    let mut scene = Scene::new().observing(3);
    scene.autoscaler = Some("ScaledObject/web".into());
    scene.due("await change", &["autoscaled"]);
    scene.due("await change", &[]);
    scene.autoscaler = None;
    scene.due("await change", &["no longer autoscaled"]);
}

#[test]
fn an_ignored_drift_is_rechecked_within_a_minute() {
    let mut scene = Scene::new().observing(5);
    for (seconds, expected) in [(30, 30), (90, 60), (30 * 24 * 3600, 60)] {
        let until = scene.now.wall + Duration::from_secs(seconds);
        Arc::make_mut(&mut scene.setting).enforcement = Enforcement::Ignore { until: Some(until) };
        let next = scene.step(None).next;
        assert_eq!(next, Next::RequeueAt(scene.now.monotonic + Duration::from_secs(expected)), "{seconds}");
    }
    Arc::make_mut(&mut scene.setting).enforcement = Enforcement::Ignore { until: None };
    scene.due("await change", &[]);
}

#[test]
fn a_steady_conflict_is_told_once_and_delays_nothing() {
    let mut scene = Scene::new();
    let period = Duration::from_mins(1);
    let mut told = Vec::new();
    for n in 1..=3 * 60 {
        let (conflicts, due) = scene.round(period);
        told.extend(conflicts);
        let expected = (n >= ROUNDS_TO_NOTICE).then(|| scene.now.monotonic + QUIET);
        assert_eq!(due, expected, "{n}");
    }
    let [SteadyConflict { by: Some(by), likely_by: None, period: told_period, rounds, .. }] = &told[..]
    else {
        panic!("{told:?}")
    };
    assert_eq!((&*by.manager, *told_period, *rounds), ("kubectl", period, ROUNDS_TO_NOTICE));
    assert_eq!(
        scene.record.steady_conflict(scene.now.monotonic).map(|conflict| conflict.rounds),
        Some(3 * 60)
    );

    scene.advance(QUIET.saturating_sub(SECOND));
    scene.due("requeue", &[]);
    scene.advance(SECOND);
    scene.due("await change", &["steady conflict ended"]);
    scene.due("await change", &[]);
    assert_eq!(scene.record.steady_conflict(scene.now.monotonic), None);
}

#[test]
fn a_steady_conflict_outlasts_another_setting_but_not_the_end_of_enforcement() {
    let period = Duration::from_mins(5);
    let mut scene = Scene::new();
    for _ in 0..ROUNDS_TO_NOTICE {
        scene.round(period);
    }
    Arc::make_mut(&mut scene.setting).replicas = count(4);
    scene.record.record_setting(count(4));
    let repair = scene.due("write", &[]).expect("a write");
    scene.write_ended(&repair, WRITTEN, "await change", &["applied"]);
    assert!(scene.record.conflict.is_steady());

    Arc::make_mut(&mut scene.setting).enforcement = Enforcement::Ignore { until: None };
    scene.advance(period);
    scene.observe(5);
    scene.due("requeue", &["drifted"]);
    scene.advance((QUIET_PERIODS - 1) * period);
    scene.due("await change", &["steady conflict ended"]);
}

#[test]
fn a_steady_conflict_ends_though_the_workload_is_missing() {
    let mut scene = Scene::new();
    for _ in 0..ROUNDS_TO_NOTICE {
        scene.round(SECOND);
    }
    scene.observed = None;
    scene.due("requeue", &["missing"]);
    scene.advance(QUIET);
    scene.due("await change", &["steady conflict ended"]);
}

#[test]
fn a_culprit_that_kubernetes_does_not_record_is_only_suspected() {
    let mut scene = Scene::new();
    let suspect = |scene: &mut Scene, manager: Option<&str>, replicas| {
        scene.observe_by(manager, replicas);
        if let Next::Write(repair) = scene.step(None).next {
            scene.step(Some((&repair, WRITTEN)));
        }
        let drift = scene.record.last_drift.clone().expect("a drift");
        (drift.manager().to_owned(), drift.likely_by.map(|suspect| suspect.to_string()))
    };
    let unknown = |suspect: Option<&str>| (String::new(), suspect.map(str::to_owned));
    assert_eq!(suspect(&mut scene, None, 0), unknown(None), "nobody is known yet");
    assert_eq!(suspect(&mut scene, Some("kubectl"), 5), ("kubectl".to_owned(), None));
    assert_eq!(suspect(&mut scene, None, 0), unknown(Some("kubectl")));
    scene.advance(MEMORY);
    assert_eq!(suspect(&mut scene, None, 7), unknown(Some("kubectl")));
    scene.advance(SECOND);
    assert_eq!(suspect(&mut scene, None, 0), unknown(None), "too long ago");
    scene.autoscaler = Some("ScaledObject/web".into());
    scene.observe(3);
    scene.step(None);
    assert_eq!(suspect(&mut scene, None, 0), unknown(Some("ScaledObject/web")));
    let under_our_name = suspect(&mut scene, Some(FIELD_MANAGER), 9);
    assert_eq!(under_our_name, (FIELD_MANAGER.to_owned(), None), "Kubernetes has recorded an owner");
}

#[test]
fn an_autoscaler_that_comes_and_goes_does_not_renew_the_budget() {
    let (mut scene, start) = (Scene::new(), Instant::now());
    scene.now.monotonic = start;
    let mut writes = Vec::new();
    for tenth in 0..600 {
        scene.now.monotonic = start + Duration::from_millis(100 * tenth);
        scene.autoscaler = (tenth / 20 % 2 == 0).then(|| "HorizontalPodAutoscaler/web".into());
        scene.observe(5);
        if let Next::Write(repair) = scene.step(None).next {
            scene.step(Some((&repair, WRITTEN)));
            scene.observe(3);
            scene.step(None);
            writes.push(tenth);
        }
    }
    assert!((usize::try_from(BUDGET).expect("small")..=16).contains(&writes.len()), "{writes:?}");
}
