//! What to do about a target: a pure function of the desired state, the observed state and what happened before.

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::clock::Now;
use crate::conflict::{Basis, View};
use crate::drift::Drift;
use crate::guard::{GuardState, Mode};
use crate::observed::{Observation, Observed};
use crate::own_writes::is_ours;
use crate::policy::Policy;
use crate::record::{InEffect, Record};
use crate::replicas::Replicas;
use crate::setting::{Enforcement, Setting};
use crate::state::State;
use crate::target::Target;
use crate::uid::Uid;

/// What to do about a managed target.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// Do nothing until something changes, because of this state.
    AwaitChange(State),
    /// Do nothing: the cluster has the desired count.
    InEffect,
    /// Only record the drift.
    Ignore {
        /// The drift. `None`: the setting is merely not in effect yet.
        drift: Option<Drift>,
        /// When enforcement resumes by itself.
        until: Option<Timestamp>,
    },
    /// Repair, but not before this time.
    Wait {
        /// When to decide again.
        until: Instant,
        /// The drift. `None`: the setting is merely not in effect yet.
        drift: Option<Drift>,
    },
    /// Repair, once the guard has the desired count.
    AwaitGuard {
        /// The drift. `None`: the setting is merely not in effect yet.
        drift: Option<Drift>,
    },
    /// Write the desired count.
    Repair(Repair),
}

impl Decision {
    /// The drift that it is about.
    pub fn drift(&self) -> Option<&Drift> {
        match self {
            Self::AwaitChange(_) | Self::InEffect => None,
            Self::Ignore { drift, .. } | Self::Wait { drift, .. } | Self::AwaitGuard { drift } => {
                drift.as_ref()
            }
            Self::Repair(repair) => repair.drift.as_ref(),
        }
    }
}

/// A write of the desired count, with everything that the decision is based on.
#[derive(Clone, Debug, PartialEq)]
pub struct Repair {
    /// The object that was observed.
    pub uid: Uid,
    /// The count that was observed.
    pub from: Replicas,
    /// The desired count.
    pub to: Replicas,
    /// The generation of the setting.
    pub generation: u64,
    /// The drift that this repairs. `None`: it puts a new setting into effect.
    pub drift: Option<Drift>,
    /// How to write.
    pub method: Method,
    /// How long the write may take.
    pub deadline: Duration,
}

/// How to write a count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// A JSON Patch that tests the observed count. After it, Kubernetes may not know who owns the count.
    Patch,
    /// A server-side apply to the observed version, which makes this server the owner in any case. Any other change of
    /// the workload since then makes it stale.
    Apply {
        /// The observed version.
        version: NonZeroU64,
    },
    /// A JSON Patch that changes nothing: the guard puts the desired count in. Whoever applied the count keeps it.
    Guarded,
}

impl Method {
    /// What the write tests.
    pub fn basis(self) -> Basis {
        match self {
            Self::Patch => Basis::Count,
            // The guard knows the count, so only another object makes this stale.
            Self::Apply { .. } | Self::Guarded => Basis::Version,
        }
    }
}

/// Decides what to do about `target`, for which `setting` is in force.
pub fn decide(
    target: &Target,
    setting: &Setting,
    observation: Observation<'_>,
    record: &Record,
    policy: &Policy,
    guard_state: GuardState,
    now: Now,
) -> Decision {
    let conflict = record.conflict_state();
    let is_suspended = guard_state == GuardState::Suspended;
    let state = State::of(target, Some(setting), observation, conflict, policy, is_suspended, now.wall);
    let Observation::Present(observed) = observation else {
        return Decision::AwaitChange(state);
    };
    match state {
        State::Unknown | State::Unmanaged | State::Missing | State::OutOfScope | State::Unsupported => {
            Decision::AwaitChange(state)
        }
        State::Ignored => {
            let until = match policy.enforcement(setting, now.wall) {
                Enforcement::Ignore { until } => until,
                Enforcement::Enforce => None,
            };
            Decision::Ignore { drift: drift(setting, observed, record, now), until }
        }
        State::InSync | State::Drifted | State::Contested | State::Autoscaled => {
            enforce(setting, observed, record, guard_state, now)
        }
    }
}

fn enforce(
    setting: &Setting,
    observed: &Observed,
    record: &Record,
    guard_state: GuardState,
    now: Now,
) -> Decision {
    if observed.replicas == setting.replicas {
        return Decision::InEffect;
    }
    let drift = drift(setting, observed, record, now);
    let view = View { uid: observed.uid.clone(), replicas: observed.replicas };
    match record.retry_at(&view) {
        Some(until) if until > now.monotonic => Decision::Wait { until, drift },
        Some(_) | None if guard_state == GuardState::Behind => Decision::AwaitGuard { drift },
        Some(_) | None => Decision::Repair(Repair {
            uid: observed.uid.clone(),
            from: observed.replicas,
            to: setting.replicas,
            generation: setting.generation,
            drift,
            method: match guard_state {
                GuardState::InForce(Mode::Correct) => Method::Guarded,
                GuardState::InForce(Mode::Warn | Mode::Deny)
                | GuardState::Unguarded
                | GuardState::Behind
                | GuardState::Suspended => {
                    method(setting, observed, record.conflict.may_test_version(now.monotonic))
                }
            },
            deadline: record.write_deadline(),
        }),
    }
}

/// How to write the desired count.
///
/// Kubernetes records no owner for a 0 that is written through `scale`, and then none for later writes through `scale`,
/// so whoever changes the count next would be unknown. Only a server-side apply mends that. An apply is stale after any
/// change of the workload, a patch only after one of the count, so an apply is made only if a patch can follow at once.
fn method(setting: &Setting, observed: &Observed, can_repeat: bool) -> Method {
    let loses_owner = observed.owner.is_none() || setting.replicas.get() == 0;
    match observed.resource_version {
        Some(version) if loses_owner && can_repeat => Method::Apply { version },
        Some(_) | None => Method::Patch,
    }
}

/// The drift that explains an undesired count. `None`: the setting may merely not be in effect yet.
///
/// A count under our field manager has no known author, unless it was certainly written by another server.
fn drift(setting: &Setting, observed: &Observed, record: &Record, now: Now) -> Option<Drift> {
    if record.altered_to(&observed.uid) == Some(observed.replicas) {
        // Our own write caused it.
        return record.open_drift.clone();
    }
    let is_ours = is_ours(observed);
    let is_another_servers = record.own_writes.rule_out(observed)
        || record.open_drift.as_ref().is_some_and(|open| open.is_still_another_servers(observed));
    let owner = observed.owner.as_ref().filter(|_| !is_ours || is_another_servers);
    let time = owner.and_then(|owner| owner.time);
    let by = match record.in_effect {
        InEffect::NotYet => return None,
        InEffect::Was(count) => (count == setting.replicas).then_some(owner)?,
        InEffect::Perhaps(count) => {
            // A count that we wrote, in this process or one before, is an earlier setting.
            let was_set_before = setting.set_at.is_some_and(|set_at| match time {
                // Kubernetes keeps whole seconds.
                Some(time) => time.as_second() > set_at.as_second(),
                // Written through `scale`: it can be older only if we died before the setting took effect.
                None => true,
            });
            (count == setting.replicas && !is_ours && was_set_before).then_some(owner)?
        }
    };
    Some(Drift {
        uid: observed.uid.clone(),
        by: by.cloned(),
        likely_by: if observed.owner.is_none() { record.suspect(now.monotonic) } else { None },
        at: time.unwrap_or(now.wall),
        from: setting.replicas,
        to: observed.replicas,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::num::NonZeroU64;
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::damping::{BUDGET, REFILL};
    use crate::failures::{Failure, WRITE_DEADLINES};
    use crate::managed_fields::{FieldOwner, Operation, Writer};
    use crate::own_writes::FIELD_MANAGER;

    const IGNORE: Enforcement = Enforcement::Ignore { until: None };

    fn count(n: i32) -> Replicas {
        Replicas::new(n).expect("valid")
    }

    fn owner(manager: &str) -> FieldOwner {
        let writer = Writer { manager: manager.into(), operation: Operation::Update, subresource: None };
        FieldOwner { writer: Arc::new(writer), time: None }
    }

    /// Desired 3, which was in effect, and observed 5, by kubectl.
    struct Case {
        setting: Setting,
        observed: Option<Observed>,
        is_read: bool,
        record: Record,
        policy: Policy,
        guard_state: GuardState,
        now: Now,
    }

    impl Default for Case {
        fn default() -> Self {
            let observed = Observed {
                uid: "u".into(),
                resource_version: NonZeroU64::new(7),
                replicas: count(5),
                ready: 0,
                ready_before: 0,
                deleting: false,
                owner: Some(owner("kubectl")),
            };
            Self {
                setting: Setting::of(count(3)),
                observed: Some(observed),
                is_read: true,
                record: Record { in_effect: InEffect::Was(count(3)), ..Record::default() },
                policy: Policy::default(),
                guard_state: GuardState::default(),
                now: Now { wall: Timestamp::UNIX_EPOCH, monotonic: Instant::now() },
            }
        }
    }

    impl Case {
        fn with(change: impl FnOnce(&mut Self)) -> Self {
            let mut case = Self::default();
            change(&mut case);
            case
        }

        fn seen(change: impl FnOnce(&mut Observed)) -> Self {
            Self::with(|case| change(case.observed.as_mut().expect("present")))
        }

        fn decide(&self) -> Decision {
            let target = Target::deployment("ns", "web").expect("valid");
            let observation = match &self.observed {
                _ if !self.is_read => Observation::Unread,
                None => Observation::Absent,
                Some(observed) => Observation::Present(observed),
            };
            let Self { setting, record, policy, guard_state, now, .. } = self;
            decide(&target, setting, observation, record, policy, *guard_state, *now)
        }

        fn expected_drift(&self, by: Option<&str>) -> Drift {
            let to = self.observed.as_ref().expect("present").replicas;
            let by = by.map(owner);
            Drift { uid: "u".into(), by, likely_by: None, at: self.now.wall, from: self.setting.replicas, to }
        }

        fn expected_repair(&self, drift: Option<Drift>) -> Decision {
            let from = self.observed.as_ref().expect("present").replicas;
            let to = self.setting.replicas;
            let (method, deadline) = (Method::Patch, WRITE_DEADLINES[0]);
            Decision::Repair(Repair { uid: "u".into(), from, to, generation: 1, drift, method, deadline })
        }

        fn method(&self) -> Method {
            let Decision::Repair(repair) = self.decide() else { panic!("no repair") };
            repair.method
        }
    }

    #[track_caller]
    fn check_awaits_change(case: &Case, expected: State) {
        assert_eq!(case.decide(), Decision::AwaitChange(expected));
    }

    #[test]
    fn awaits_a_change_when_there_is_nothing_to_do() {
        check_awaits_change(&Case::with(|case| case.is_read = false), State::Unknown);
        check_awaits_change(&Case::with(|case| case.observed = None), State::Missing);
        check_awaits_change(&Case::seen(|observed| observed.deleting = true), State::Missing);
        let in_effect = Case::seen(|observed| observed.replicas = count(3));
        assert_eq!(in_effect.decide(), Decision::InEffect);
        let excluded = BTreeSet::from(["ns".to_owned()]);
        check_awaits_change(&Case::with(|case| case.policy.scope.excluded = excluded), State::OutOfScope);
        check_awaits_change(
            &Case::with(|case| case.policy.scope.only = Some("other".into())),
            State::OutOfScope,
        );
    }

    #[test]
    fn repairs_a_drift_and_names_its_author() {
        let case = Case::default();
        assert_eq!(case.decide(), case.expected_repair(Some(case.expected_drift(Some("kubectl")))));

        let unversioned = Case::seen(|observed| {
            observed.owner = None;
            observed.resource_version = None;
        });
        assert_eq!(unversioned.decide(), unversioned.expected_repair(Some(unversioned.expected_drift(None))));
    }

    #[test]
    fn applies_a_count_that_a_patch_would_leave_without_an_owner() {
        let unowned = || Case::seen(|observed| observed.owner = None);
        let to_zero = Case::with(|case| {
            case.setting.replicas = count(0);
            case.record.in_effect = InEffect::Was(count(0));
        });
        for case in [unowned(), to_zero] {
            let Decision::Repair(repair) = case.decide() else { panic!("no repair") };
            assert_eq!(repair.method, Method::Apply { version: NonZeroU64::new(7).expect("positive") });
            assert_eq!(repair.drift.map(|drift| drift.to), Some(count(5)));
        }
        assert_eq!(Case::default().method(), Method::Patch);
    }

    #[test]
    fn the_guard_comes_before_the_count() {
        let guarded = |guard_state| Case { guard_state, ..Case::default() };
        let drift = Some(Case::default().expected_drift(Some("kubectl")));
        assert_eq!(guarded(GuardState::Behind).decide(), Decision::AwaitGuard { drift: drift.clone() });
        assert_eq!(guarded(GuardState::Suspended).decide(), Decision::Ignore { drift, until: None });
        assert_eq!(guarded(GuardState::InForce(Mode::Correct)).method(), Method::Guarded);
        for mode in [Mode::Warn, Mode::Deny] {
            assert_eq!(guarded(GuardState::InForce(mode)).method(), Method::Patch);
        }
    }

    #[test]
    fn patches_after_stale_applies_without_waiting() {
        let mut case = Case::seen(|observed| observed.owner = None);
        for (failure, basis, seconds, expected) in [
            (Failure::Stale, Basis::Version, 1, "apply"),
            (Failure::Failed, Basis::Version, 1, "apply"),
            (Failure::Stale, Basis::Version, 1, "patch"),
            (Failure::Failed, Basis::Version, REFILL.as_secs(), "apply"),
            (Failure::Stale, Basis::Count, 1, "apply"),
            (Failure::Stale, Basis::Version, 1, "patch"),
        ] {
            let view = View { uid: "u".into(), replicas: count(5) };
            case.record.record_failure(view, basis, failure, Duration::ZERO, case.now.monotonic, 1.0);
            case.now.monotonic += Duration::from_secs(seconds);
            let method = match case.method() {
                Method::Apply { .. } => "apply",
                Method::Patch => "patch",
                Method::Guarded => "nothing",
            };
            assert_eq!(method, expected, "{failure:?} {basis:?}");
        }
    }

    #[test]
    fn a_new_setting_is_no_drift() {
        let first = Case::with(|case| case.record.in_effect = InEffect::NotYet);
        assert_eq!(first.decide(), first.expected_repair(None));

        for before in [InEffect::Was(count(5)), InEffect::Perhaps(count(5))] {
            let changed = Case::with(|case| case.record.in_effect = before);
            assert_eq!(changed.decide(), changed.expected_repair(None));
        }
    }

    #[test]
    fn after_a_start_the_author_is_never_guessed() {
        let (set_at, same_second, second) = ("09:00:10.5Z", "09:00:10Z", "09:00:11Z");
        let time = |text: &str| format!("2026-01-01T{text}").parse::<Timestamp>().expect("valid");
        // The owner of the count and since when, when the setting was stored, and the author if it is a drift.
        let kubectl = Some("kubectl");
        for (manager, since, set_at, expected) in [
            (kubectl, Some(second), Some(set_at), Some(kubectl)),
            (kubectl, Some(same_second), Some(set_at), None),
            (kubectl, Some("08:00:00Z"), Some(set_at), None),
            (kubectl, None, Some(set_at), Some(kubectl)),
            (None, None, Some(set_at), Some(None)),
            (kubectl, Some(second), None, None),
            (kubectl, None, None, None),
            (None, None, None, None),
            (Some(FIELD_MANAGER), None, Some(set_at), None),
            (Some(FIELD_MANAGER), Some(second), Some(set_at), None),
        ] {
            let mut case = Case::with(|case| case.record = Record::of_stored_setting(count(3)));
            case.setting.set_at = set_at.map(time);
            let owner = manager.map(|manager| FieldOwner { time: since.map(time), ..owner(manager) });
            case.observed.as_mut().expect("present").owner = owner.clone();
            let drift = expected.map(|by| Drift {
                by: owner.filter(|_| by.is_some()),
                at: since.map_or(case.now.wall, time),
                ..case.expected_drift(None)
            });
            let Decision::Repair(repair) = case.decide() else { panic!("no repair") };
            assert_eq!(repair.drift, drift, "{manager:?} {since:?} {set_at:?}");
        }
    }

    #[test]
    fn another_server_is_an_author_only_if_the_count_is_not_ours() {
        let mut case = Case::seen(|observed| observed.owner = Some(owner(FIELD_MANAGER)));
        assert_eq!(case.decide(), case.expected_repair(Some(case.expected_drift(Some(FIELD_MANAGER)))));
        case.record.own_writes.record_sent(count(5));
        assert_eq!(case.decide(), case.expected_repair(Some(case.expected_drift(None))));
    }

    #[test]
    fn drift_has_the_time_of_its_owner_when_there_is_one() {
        let time = Timestamp::from_second(-60).expect("in range");
        let case = Case::seen(|observed| observed.owner.as_mut().expect("owned").time = Some(time));
        let Decision::Repair(Repair { drift: Some(drift), .. }) = case.decide() else { panic!("no drift") };
        assert_eq!(drift.at, time);
    }

    #[test]
    fn ignores_drift_when_enforcement_is_off() {
        let server = Case::with(|case| case.policy.enforcement = IGNORE);
        let setting = Case::with(|case| case.setting.enforcement = IGNORE);
        for case in [server, setting] {
            let drift = Some(case.expected_drift(Some("kubectl")));
            assert_eq!(case.decide(), Decision::Ignore { drift, until: None });
        }
        let end = Timestamp::from_second(60).expect("in range");
        let mut case = Case::with(|case| case.setting.enforcement = Enforcement::Ignore { until: Some(end) });
        assert!(matches!(case.decide(), Decision::Ignore { until: Some(until), .. } if until == end));
        case.now.wall = end;
        assert!(matches!(case.decide(), Decision::Repair(_)));
    }

    #[test]
    fn waits_for_the_longer_of_failure_and_conflict_delays() {
        let case = Case::default();
        let at = |ms| case.now.monotonic + Duration::from_millis(ms);
        // After 12 conflicts the next repair waits 10 s; a throttled write is retried 50 ms after its Retry-After.
        for (conflicts, retry_after_s, expected_ms) in
            [(0, 7, 7_050), (BUDGET, 0, 10_000), (BUDGET, 7, 10_000), (BUDGET, 17, 17_050)]
        {
            let mut case = Case::default();
            for _ in 0..conflicts {
                case.record.record_drift(&case.expected_drift(None), at(0), 1.0);
                case.record.record_repaired(count(3), at(0), 1.0);
            }
            if retry_after_s > 0 {
                case.record.record_failure(
                    View { uid: "u".into(), replicas: count(5) },
                    Basis::Count,
                    Failure::Throttled,
                    Duration::from_secs(retry_after_s),
                    at(0),
                    1.0,
                );
            }
            let until = at(expected_ms);
            let drift = Some(case.expected_drift(Some("kubectl")));
            assert_eq!(
                case.decide(),
                Decision::Wait { until, drift },
                "{conflicts} conflicts, {retry_after_s} s"
            );
            case.now.monotonic = until;
            assert!(matches!(case.decide(), Decision::Repair(_)), "{conflicts} conflicts, {retry_after_s} s");
            // A count that is already in effect does not wait.
            case.observed.as_mut().expect("present").replicas = count(3);
            assert_eq!(case.decide(), Decision::InEffect);
        }
    }
}
