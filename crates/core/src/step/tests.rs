use std::num::NonZeroU64;

use super::*;
use crate::conflict::{BUDGET, QUIET};
use crate::managed_fields::{FieldOwner, Operation, Writer};
use crate::observed::Observed;
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

    /// The cluster has this count, by kubectl.
    fn found(mut self, replicas: i32) -> Self {
        self.find(replicas);
        self
    }

    fn find(&mut self, replicas: i32) {
        let writer = Writer { manager: "kubectl".into(), operation: Operation::Update, subresource: None };
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

    fn pass(&mut self, time: Duration) {
        self.now.monotonic += time;
        self.now.wall += time;
    }

    fn step(&mut self, ended: Option<(&Repair, Outcome)>) -> Step {
        let target = Target::deployment("shop", "web").expect("valid");
        let observation = self.observed.as_ref().map_or(Observation::Absent, Observation::Present);
        let cause = match ended {
            Some((repair, outcome)) => Cause::Ended { repair, outcome },
            None => Cause::Due { setting: &self.setting, observation, autoscaler: self.autoscaler.as_ref() },
        };
        let step = step(&mut self.record, &target, cause, &Policy::default(), self.now, 1.0);
        for event in &step.events {
            assert_eq!((&event.target, event.at, event.generation), (&target, self.now.wall, Some(7)));
        }
        step
    }

    /// The target is due.
    #[track_caller]
    fn due(&mut self, next: &str, events: &[&str]) -> Option<Repair> {
        let step = self.step(None);
        check(&step, next, events);
        match step.next {
            Next::Write(repair) => Some(repair),
            Next::Rest | Next::Wait(_) => None,
        }
    }

    /// The write has ended.
    #[track_caller]
    fn ended(&mut self, repair: &Repair, outcome: Outcome, next: &str, events: &[&str]) {
        check(&self.step(Some((repair, outcome))), next, events);
    }

    /// It drifts to a count, which is repaired at once.
    #[track_caller]
    fn repair(&mut self, found: i32, events: &[&str]) {
        self.find(found);
        let repair = self.due("write", &["drifted"]).expect("a write");
        self.ended(&repair, WRITTEN, "rest", events);
        self.find(3);
    }
}

const WRITTEN: Outcome = Outcome::Written { took: SECOND };

fn failed(failure: Failure) -> Outcome {
    Outcome::Failed { failure, words: "words".into(), retry_after: Duration::ZERO }
}

#[track_caller]
fn check(step: &Step, next: &str, events: &[&str]) {
    let actual = match step.next {
        Next::Rest => "rest",
        Next::Wait(_) => "wait",
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
        EventKind::Repaired { .. } => "repaired",
        EventKind::Applied { .. } => "applied",
        EventKind::Resolved { how, .. } => how.as_str(),
        EventKind::Contested { .. } => "contested",
        EventKind::Calmed => "calmed",
        EventKind::Missing => "missing",
        EventKind::Autoscaled { autoscaler: Some(_) } => "autoscaled",
        EventKind::Autoscaled { autoscaler: None } => "no longer autoscaled",
        EventKind::WriteFailed(failure) if failure.is_news => "write failed, news",
        EventKind::WriteFailed(_) => "write failed",
    }
}

#[test]
fn a_drift_is_told_once_and_repaired() {
    let mut scene = Scene::new().found(5);
    let repair = scene.due("write", &["drifted"]).expect("a write");
    assert_eq!((repair.from, repair.to, repair.generation), (count(5), count(3), 7));
    scene.due("write", &[]);
    scene.ended(&repair, WRITTEN, "rest", &["repaired"]);
    scene.find(3);
    scene.due("rest", &[]);
    assert_eq!(scene.record.drifts, 1);
}

#[test]
fn a_new_setting_is_applied_and_ends_the_drift_from_the_one_before() {
    let mut scene = Scene::new().found(5);
    scene.due("write", &["drifted"]);
    scene.setting.replicas = count(4);
    scene.record.follow_setting(count(4));
    let repair = scene.due("write", &[]).expect("a write");
    scene.ended(&repair, WRITTEN, "rest", &["applied", "new_setting"]);
}

#[test]
fn a_drift_ends_without_us_or_by_another_one() {
    let mut scene = Scene::new().found(5);
    scene.due("write", &["drifted"]);
    scene.find(6);
    scene.due("write", &["drifted_again", "drifted"]);
    scene.find(3);
    scene.due("rest", &["in_sync"]);
}

#[test]
fn failures_wait_and_are_news_once() {
    let mut scene = Scene::new().found(5);
    let repair = scene.due("write", &["drifted"]).expect("a write");
    scene.ended(&repair, failed(Failure::Forbidden), "wait", &["write failed, news"]);
    scene.due("wait", &[]);
    scene.pass(SECOND);
    scene.due("write", &[]);
    scene.ended(&repair, failed(Failure::Forbidden), "wait", &["write failed"]);
}

#[test]
fn an_unanswered_write_may_have_been_ours() {
    let mut scene = Scene::new().found(5);
    scene.autoscaler = Some("HorizontalPodAutoscaler/web".into());
    let repair = scene.due("write", &["autoscaled", "drifted"]).expect("a write");
    scene.ended(&repair, failed(Failure::Deadline), "wait", &["write failed, news"]);
    scene.find(3);
    scene.due("wait", &["contested", "in_sync"]);
}

#[test]
fn a_fight_is_told_once_until_it_is_over() {
    let mut scene = Scene::new();
    for _ in 1..BUDGET {
        scene.repair(5, &["repaired"]);
        scene.due("rest", &[]);
    }
    scene.repair(5, &["repaired", "contested"]);
    scene.due("wait", &[]);
    scene.find(6);
    scene.due("wait", &["drifted, contested"]);
    scene.pass(11 * SECOND);
    let repair = scene.due("write", &[]).expect("a write");
    scene.ended(&repair, WRITTEN, "rest", &["repaired"]);
    scene.find(3);
    scene.due("wait", &[]);
    scene.pass(QUIET);
    scene.due("rest", &["calmed"]);
    scene.repair(5, &["repaired"]);
}

#[test]
fn a_missing_workload_is_told_once() {
    let mut scene = Scene::new();
    scene.due("rest", &["missing"]);
    scene.due("rest", &[]);
    scene.find(3);
    scene.due("rest", &[]);
    scene.observed.as_mut().expect("present").deleting = true;
    scene.due("rest", &["missing"]);
}

#[test]
fn an_autoscaler_is_told_when_it_comes_and_when_it_goes() {
    let mut scene = Scene::new().found(3);
    scene.autoscaler = Some("ScaledObject/web".into());
    scene.due("rest", &["autoscaled"]);
    scene.due("rest", &[]);
    scene.autoscaler = None;
    scene.due("rest", &["no longer autoscaled"]);
}

#[test]
fn an_ignored_drift_is_looked_at_again_within_a_minute_of_the_wall_clock() {
    let mut scene = Scene::new().found(5);
    for (seconds, expected) in [(30, 30), (90, 60), (30 * 24 * 3600, 60)] {
        let until = scene.now.wall + Duration::from_secs(seconds);
        scene.setting.enforcement = Enforcement::Ignore { until: Some(until) };
        let next = scene.step(None).next;
        assert_eq!(next, Next::Wait(scene.now.monotonic + Duration::from_secs(expected)), "{seconds}");
    }
    scene.setting.enforcement = Enforcement::Ignore { until: None };
    scene.due("rest", &[]);
}
