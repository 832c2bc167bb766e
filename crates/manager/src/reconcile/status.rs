//! The status of a ReplicaCount, from what is known of it and of its workload.

use std::sync::Arc;

use jiff::Timestamp;
use replica_count_core::clock::Now;
use replica_count_core::conflict::ConflictState;
use replica_count_core::drift::Drift;
use replica_count_core::entry_target::EntryTarget;
use replica_count_core::observed::Observation;
use replica_count_core::policy::Policy;
use replica_count_core::record::Record;
use replica_count_core::setting::{Certainty, Enforcement, Setting};
use replica_count_core::state::State;
use replica_count_core::target::Target;

use crate::kubernetes::replica_count::{Condition, LastDrift, ReplicaCountStatus};
use crate::store::ObjectView;

/// The state of an object that does not count, because another one does.
const SUPERSEDED: &str = "Superseded";
const IN_EFFECT: &str = "InEffect";
const ENFORCED: &str = "Enforced";
/// Why an object is not in effect that had nothing but a temporary count.
const HOLD_ENDED: &str = "HoldEnded";

/// What is known of the workload of an object.
pub(super) struct Known<'a> {
    pub(super) observation: Observation<'a>,
    /// Kind and name of the autoscaler that targets it.
    pub(super) autoscaler: Option<&'a str>,
    pub(super) record: &'a Record,
    /// Whether the guard of the namespace is suspended.
    pub(super) is_suspended: bool,
    pub(super) policy: &'a Policy,
    pub(super) now: Now,
}

/// A condition without its time.
struct Verdict {
    status: &'static str,
    reason: String,
    message: String,
}

fn verdict(status: &'static str, reason: &str, message: impl Into<String>) -> Verdict {
    Verdict { status, reason: reason.to_owned(), message: message.into() }
}

/// The status that an object should have, without its history.
pub(super) fn status(object: &ObjectView, known: &Known<'_>) -> ReplicaCountStatus {
    let observed = known.observation.present();
    let (state, in_effect, enforced) = judge(object, known);
    let generation = i64::try_from(object.generation).ok();
    let condition = |name: &str, Verdict { status, reason, message }: Verdict| {
        let before = object.status.conditions.iter().find(|condition| condition.r#type == name);
        let unchanged = before.filter(|before| before.status == status);
        let since = unchanged.and_then(|before| before.last_transition_time);
        Condition {
            r#type: name.to_owned(),
            status: status.to_owned(),
            reason,
            message,
            observed_generation: generation,
            last_transition_time: since.or_else(|| whole_second(known.now.wall)),
        }
    };
    ReplicaCountStatus {
        observed_generation: generation,
        target: object.target.as_ref().map(|target| format!("{}/{}", target.kind(), target.name())),
        state: Some(state.to_owned()),
        desired: in_force(object, known).map(|setting| setting.replicas.get()),
        current: observed.map(|observed| observed.replicas.get()),
        set_by: object.setting.as_ref().and_then(|setting| set_by(setting)),
        conflict: conflict(known.record, known.now),
        autoscaler: known.autoscaler.map(str::to_owned),
        // A new holder does not know what happened before.
        last_drift: known
            .record
            .last_drift
            .as_ref()
            .map(last_drift)
            .or_else(|| object.status.last_drift.clone()),
        conditions: vec![condition(IN_EFFECT, in_effect), condition(ENFORCED, enforced)],
        history: Vec::new(),
    }
}

/// The state, and the conditions.
fn judge(object: &ObjectView, known: &Known<'_>) -> (&'static str, Verdict, Verdict) {
    if let Some(other) = &object.superseded_by {
        let message = format!("ReplicaCount {other} for the same workload is older, so that one counts");
        let both = || verdict("False", SUPERSEDED, message.clone());
        return (SUPERSEDED, both(), both());
    }
    let (Some(setting), Some(EntryTarget::Known(target)), None) =
        (&object.setting, &object.target, &object.not_enforced)
    else {
        let reason = object.not_enforced.as_ref();
        let (word, message) = reason.map_or(("NotSupported", ""), |why| (why.as_str(), &**why.message()));
        let both = || verdict("False", word, message);
        return (State::Unsupported.as_str(), both(), both());
    };
    let Some(setting) = &setting.at(known.now.wall) else {
        let message = "the temporary count has ended, and there is no other";
        let both = || verdict("False", HOLD_ENDED, message);
        return (State::Unmanaged.as_str(), both(), both());
    };
    let Known { observation, record, policy, is_suspended, now, .. } = *known;
    let conflict = record.conflict_state();
    let state = State::of(target, Some(setting), observation, conflict, policy, is_suspended, now.wall);
    (state.as_str(), in_effect(target, setting, state, known), enforced(target, setting, object, known))
}

fn set_by(setting: &Setting) -> Option<String> {
    let by = setting.set_by.as_ref()?;
    Some(match setting.certainty {
        Certainty::Proven => by.clone(),
        Certainty::Claimed => format!("{by} (claimed)"),
    })
}

/// The setting that is in force, if this object is enforced at all.
fn in_force(object: &ObjectView, known: &Known<'_>) -> Option<Arc<Setting>> {
    let counts = object.not_enforced.is_none() && object.superseded_by.is_none();
    object.setting.as_ref().filter(|_| counts)?.at(known.now.wall)
}

fn in_effect(target: &Target, setting: &Setting, state: State, known: &Known<'_>) -> Verdict {
    match (state, known.observation) {
        (State::OutOfScope, _) => out_of_scope(target, known.policy),
        (State::Missing, _) => {
            let message = format!("{} does not exist, or is being deleted", target.with_kind());
            verdict("False", State::Missing.as_str(), message)
        }
        (_, Observation::Present(observed)) if observed.replicas == setting.replicas => {
            verdict("True", State::InSync.as_str(), "the workload has the desired count")
        }
        (_, Observation::Present(observed)) => {
            let message = format!("the workload has {} replicas", observed.replicas);
            verdict("False", state.as_str(), message)
        }
        (_, Observation::Unread | Observation::Absent) => {
            verdict("Unknown", State::Unknown.as_str(), "the workloads have not been read yet")
        }
    }
}

fn enforced(target: &Target, setting: &Setting, object: &ObjectView, known: &Known<'_>) -> Verdict {
    if known.policy.scope.check(target).is_err() {
        return out_of_scope(target, known.policy);
    }
    if known.is_suspended {
        return verdict("False", "GuardSuspended", "the guard of this namespace is suspended");
    }
    let now = known.now.wall;
    if known.policy.enforcement.at(now) != Enforcement::Enforce {
        return verdict("False", "ServerIgnores", "the server only watches (--enforcement=ignore)");
    }
    match setting.enforcement.at(now) {
        Enforcement::Ignore { until: Some(until) } => {
            verdict("False", "Ignored", format!("drift is not repaired until {until}"))
        }
        Enforcement::Ignore { until: None } => verdict("False", "Ignored", "drift is not repaired"),
        Enforcement::Enforce if object.supersedes.is_empty() => {
            verdict("True", "Enforced", "drift is repaired")
        }
        Enforcement::Enforce => {
            let others = object.supersedes.join(", ");
            verdict("True", "Enforced", format!("drift is repaired; newer and without effect: {others}"))
        }
    }
}

fn out_of_scope(target: &Target, policy: &Policy) -> Verdict {
    let reason = policy.scope.check(target).err().map(|reason| reason.to_string());
    verdict("False", State::OutOfScope.as_str(), reason.unwrap_or_default())
}

/// Who keeps changing the count.
fn conflict(record: &Record, now: Now) -> Option<String> {
    let unknown = || "unknown".to_owned();
    if record.conflict_state() == ConflictState::Contested {
        let manager = record.last_drift.as_ref().map(Drift::manager).filter(|manager| !manager.is_empty());
        return Some(manager.map_or_else(unknown, str::to_owned));
    }
    let steady = record.steady_conflict(now.monotonic)?;
    Some(steady.by.map_or_else(unknown, |writer| writer.manager.to_string()))
}

fn last_drift(drift: &Drift) -> LastDrift {
    let writer = drift.by.as_ref().map(|owner| &owner.writer);
    LastDrift {
        by: writer.map(|writer| writer.manager.to_string()),
        operation: writer.map(|writer| writer.operation.as_str().to_owned()),
        subresource: writer.and_then(|writer| Some(writer.subresource.as_deref()?.to_owned())),
        from: drift.from.get(),
        to: drift.to.get(),
        at: whole_second(drift.at),
    }
}

fn whole_second(at: Timestamp) -> Option<Timestamp> {
    Timestamp::from_second(at.as_second()).ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Instant;

    use replica_count_core::history::compact::Ids;
    use replica_count_core::observed::Observed;
    use replica_count_core::replicas::Replicas;
    use replica_count_core::scope::Scope;
    use replica_count_core::setting::Hold;

    use super::*;
    use crate::store::NotEnforced;

    fn count(n: i32) -> Replicas {
        Replicas::new(n).unwrap()
    }

    fn object(setting: Setting) -> ObjectView {
        ObjectView {
            uid: "u".into(),
            generation: 2,
            target: Some(Target::deployment("shop", "web").unwrap().into()),
            setting: Some(Arc::new(setting)),
            not_enforced: None,
            superseded_by: None,
            supersedes: Vec::new(),
            status: Arc::default(),
            told: Ids::default(),
        }
    }

    fn status_at(
        object: &ObjectView,
        replicas: Option<i32>,
        policy: &Policy,
        second: i64,
    ) -> ReplicaCountStatus {
        let observed = replicas.map(|replicas| Observed {
            uid: "w".into(),
            resource_version: None,
            replicas: count(replicas),
            ready_before: 0,
            ready: 0,
            deleting: false,
            owner: None,
        });
        let wall = Timestamp::from_second(second).unwrap();
        let known = Known {
            observation: observed.as_ref().map_or(Observation::Absent, Observation::Present),
            autoscaler: None,
            record: &Record::default(),
            is_suspended: false,
            policy,
            now: Now { wall, monotonic: Instant::now() },
        };
        status(object, &known)
    }

    #[track_caller]
    fn check(
        object: &ObjectView,
        replicas: Option<i32>,
        state: &str,
        in_effect: (&str, &str),
        enforced: (&str, &str),
    ) {
        let excluded = BTreeSet::from(["kube-system".to_owned()]);
        let policy = Policy { scope: Scope { excluded, ..Scope::default() }, ..Policy::default() };
        let status = status_at(object, replicas, &policy, 0);
        let conditions: Vec<_> = status
            .conditions
            .iter()
            .map(|condition| (condition.status.as_str(), condition.reason.as_str()))
            .collect();
        assert_eq!((status.state.as_deref(), conditions), (Some(state), vec![in_effect, enforced]));
    }

    #[test]
    fn conditions_say_why() {
        let plain = object(Setting::of(count(3)));
        check(&plain, Some(3), "InSync", ("True", "InSync"), ("True", "Enforced"));
        check(&plain, Some(5), "Drifted", ("False", "Drifted"), ("True", "Enforced"));
        check(&plain, None, "Missing", ("False", "Missing"), ("True", "Enforced"));
        let ignored = Setting { enforcement: Enforcement::Ignore { until: None }, ..Setting::of(count(3)) };
        check(&object(ignored), Some(5), "Ignored", ("False", "Ignored"), ("False", "Ignored"));
        let newer = ObjectView { superseded_by: Some("old".into()), ..plain.clone() };
        let both = ("False", "Superseded");
        check(&newer, Some(3), "Superseded", both, both);
        let above = Some(NotEnforced::AboveMaximum("too many".into()));
        let both = ("False", "AboveMaximum");
        check(&ObjectView { not_enforced: above, ..plain.clone() }, Some(3), "Unsupported", both, both);
        let excluded = Some(Target::deployment("kube-system", "web").unwrap().into());
        let both = ("False", "OutOfScope");
        check(&ObjectView { target: excluded, ..plain }, Some(3), "OutOfScope", both, both);
    }

    #[test]
    fn what_nobody_has_proven_is_a_claim() {
        for (certainty, expected) in [(Certainty::Proven, "ann"), (Certainty::Claimed, "ann (claimed)")] {
            let setting = Setting { set_by: Some("ann".to_owned()), certainty, ..Setting::of(count(3)) };
            let status = status_at(&object(setting), Some(3), &Policy::default(), 0);
            assert_eq!(status.set_by.as_deref(), Some(expected));
        }
    }

    #[test]
    fn a_temporary_count_is_desired_until_it_ends() {
        let until = Timestamp::from_second(60).unwrap();
        for (afterwards, later) in [(Some(count(3)), ("Drifted", Some(3))), (None, ("Unmanaged", None))] {
            let hold = Some(Hold { until, afterwards });
            let held = object(Setting { hold, ..Setting::of(count(9)) });
            let at = |second| {
                let status = status_at(&held, Some(9), &Policy::default(), second);
                (status.state.unwrap(), status.desired, status.conditions[0].reason.clone())
            };
            assert_eq!(at(59), ("InSync".to_owned(), Some(9), "InSync".to_owned()));
            let reason = afterwards.map_or("HoldEnded", |_| "Drifted");
            assert_eq!(at(60), (later.0.to_owned(), later.1, reason.to_owned()));
        }
    }

    #[test]
    fn the_same_again_is_the_same_status() {
        let mut object = object(Setting::of(count(3)));
        let first = status_at(&object, Some(3), &Policy::default(), 1);
        object.status = Arc::new(first.clone());
        assert_eq!(status_at(&object, Some(3), &Policy::default(), 9), first);
        let drifted = status_at(&object, Some(5), &Policy::default(), 9);
        let times = |status: &ReplicaCountStatus| {
            status.conditions.iter().map(|c| c.last_transition_time.unwrap().as_second()).collect::<Vec<_>>()
        };
        assert_eq!((times(&first), times(&drifted)), (vec![1, 1], vec![9, 1]));
    }
}
