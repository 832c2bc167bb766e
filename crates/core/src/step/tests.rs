use std::num::NonZeroU64;

use super::*;
use crate::conflict::{BUDGET, QUIET};
use crate::managed_fields::{FieldOwner, Operation, Writer};
use crate::observed::Observed;
use crate::own_writes::FIELD_MANAGER;
use crate::record::InEffect;
use crate::replicas::Replicas;
use crate::setting::Enforcement;

const SECOND: Duration = Duration::from_secs(1);

fn count(n: i32) -> Replicas {
    Replicas::new(n).expect("valid")
}

/// A target that desires 3, which was in effect.
struct Scene {
    record: Record,
    setting: Setting,
    observed: Option<Observed>,
    autoscaler: Option<Arc<str>>,
    now: Now,
}

impl Scene {
    fn new() -> Self {
        Self {
            record: Record { in_effect: InEffect::Was(count(3)), ..Record::default() },
            setting: Setting { generation: 7, ..Setting::of(count(3)) },
            observed: None,
            autoscaler: None,
            now: Now { wall: Timestamp::UNIX_EPOCH, monotonic: Instant::now() },
        }
    }

    /// The cluster has this count, set by kubectl.
    fn observing(mut self, replicas: i32) -> Self {
        self.observe(replicas);
        self
    }

    fn observe(&mut self, replicas: i32) {
        self.observe_by("kubectl", replicas);
    }

    fn observe_by(&mut self, manager: &str, replicas: i32) {
        let writer = Writer { manager: manager.into(), operation: Operation::Update, subresource: None };
        let owner = FieldOwner { writer: Arc::new(writer), time: None };
        self.observed = Some(Observed {
            uid: "u".into(),
            resource_version: NonZeroU64::new(1),
            replicas: count(replicas),
            ready: 0,
            deleting: false,
            owner: Some(owner),
        });
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
            None => Cause::Due { setting: &self.setting, observation, autoscaler: self.autoscaler.as_ref() },
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

    /// The count drifts and is repaired at once.
    #[track_caller]
    fn repair(&mut self, drifted_to: i32, events: &[&str]) {
        self.observe(drifted_to);
        let repair = self.due("write", &["drifted"]).expect("a write");
        self.write_ended(&repair, WRITTEN, "await change", events);
        self.observe(3);
    }
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
        EventKind::Drifted { is_contested: false, .. } => "drifted",
        EventKind::Drifted { is_contested: true, .. } => "drifted, contested",
        EventKind::AnotherServer { .. } => "another server",
        EventKind::Repaired { .. } => "repaired",
        EventKind::Applied { .. } => "applied",
        EventKind::Resolved { how, .. } => how.as_str(),
        EventKind::Contested { .. } => "contested",
        EventKind::Calmed => "calmed",
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
    scene.setting.replicas = count(4);
    scene.record.record_setting(count(4));
    let repair = scene.due("write", &[]).expect("a write");
    scene.write_ended(&repair, WRITTEN, "await change", &["applied", "new_setting"]);
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
    scene.observe_by(FIELD_MANAGER, 7);
    let repair = scene.due("write", &["drifted", "another server"]).expect("a write");
    scene.due("write", &[]);
    scene.write_ended(&repair, WRITTEN, "await change", &["repaired"]);
    assert_eq!(scene.record.last_drift.as_ref().map(Drift::manager), Some(FIELD_MANAGER));

    // Our write is in effect, and the other server answers it.
    scene.observe_by(FIELD_MANAGER, 3);
    scene.due("await change", &[]);
    scene.observe_by(FIELD_MANAGER, 7);
    scene.due("write", &["drifted", "another server"]);
}

#[test]
fn a_count_that_a_policy_made_of_ours_is_nobodys() {
    let mut scene = Scene::new().observing(7);
    let repair = scene.due("write", &["drifted"]).expect("a write");
    scene.write_ended(&repair, WRITTEN, "await change", &["repaired"]);
    scene.observe_by(FIELD_MANAGER, 2);
    scene.due("write", &["drifted"]);
    assert_eq!(scene.record.last_drift.as_ref().map(Drift::manager), Some(""));
}

#[test]
fn a_late_write_of_an_earlier_setting_is_nobodys() {
    let mut scene = Scene::new();
    scene.observe_by(FIELD_MANAGER, 3);
    scene.setting.replicas = count(5);
    let repair = scene.due("write", &[]).expect("a write");
    scene.write_ended(&repair, failed(Failure::Deadline), "requeue", &["write failed, warning"]);
    scene.setting.replicas = count(3);
    scene.record.record_setting(count(3));
    scene.due("await change", &[]);
    scene.observe_by(FIELD_MANAGER, 5);
    scene.due("write", &["drifted"]);
    assert_eq!(scene.record.last_drift.as_ref().map(Drift::manager), Some(""));
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
    scene.write_ended(&repair, WRITTEN, "await change", &["repaired"]);
    scene.observe(3);
    scene.due("requeue", &[]);
    scene.advance(QUIET);
    scene.due("await change", &["calmed"]);
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
        scene.setting.enforcement = Enforcement::Ignore { until: Some(until) };
        let next = scene.step(None).next;
        assert_eq!(next, Next::RequeueAt(scene.now.monotonic + Duration::from_secs(expected)), "{seconds}");
    }
    scene.setting.enforcement = Enforcement::Ignore { until: None };
    scene.due("await change", &[]);
}
