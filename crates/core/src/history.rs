//! What happened to one managed target since this process started.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::backoff::Moment;
use crate::damping::{BUDGET, BUDGET_OF_AUTOSCALED, Damping};
use crate::failures::{Failure, Failures};
use crate::managed_fields::{FieldOwner, Operation};
use crate::replicas::Replicas;
use crate::uid::Uid;

/// What was seen of one managed target. Kept in memory only.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// Which desired count was last seen in the cluster: tells a drift from a setting that has not arrived yet.
    pub in_effect: InEffect,
    /// The drift that is seen now and not repaired yet.
    pub open: Option<Drift>,
    /// The last drift, repaired or not.
    pub last: Option<Drift>,
    /// How many drifts were seen.
    pub drifts: u64,
    /// The attempts to repair that failed since the last success.
    pub failures: Option<Failures>,
    /// How repairs are damped.
    pub damping: Damping,
    /// The autoscaler that targets the Deployment.
    pub autoscaler: Option<Arc<str>>,
}

/// Which desired count the cluster had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InEffect {
    /// None yet: the setting is new.
    #[default]
    NotYet,
    /// Not known, but perhaps this one: the process started with it.
    Perhaps(Replicas),
    /// This one.
    Was(Replicas),
}

/// Who else has a say in the count of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opposition {
    /// Nobody.
    None,
    /// Somebody keeps drifting it.
    Contest,
    /// An autoscaler targets it.
    Autoscaler,
}

/// What a drift that is seen is to those before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sighting {
    /// The one that is open already.
    Known,
    /// A new one.
    New {
        /// The one that was open, which nobody will repair any more.
        instead_of: Option<Drift>,
    },
}

/// One change of a count away from the desired one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drift {
    /// The object it was seen on.
    pub uid: Uid,
    /// Who made it. `None`: unknown.
    pub by: Option<FieldOwner>,
    /// When it was made, or, if that is not known, when it was seen.
    pub at: Timestamp,
    /// The desired count.
    pub from: Replicas,
    /// The count found instead.
    pub to: Replicas,
}

impl Drift {
    /// Whether both describe one and the same change, whenever each was seen.
    ///
    /// The time of the owner does not count: it moves with everything that the same field manager writes.
    pub fn is_same_as(&self, other: &Self) -> bool {
        fn culprit(drift: &Drift) -> Option<(&str, Operation, Option<&str>)> {
            let FieldOwner { manager, operation, subresource, time: _ } = drift.by.as_ref()?;
            Some((manager, *operation, subresource.as_deref()))
        }
        self.uid == other.uid
            && culprit(self) == culprit(other)
            && self.from == other.from
            && self.to == other.to
    }

    /// The field manager that made it; empty when unknown.
    pub fn manager(&self) -> &str {
        self.by.as_ref().map_or("", |owner| &owner.manager)
    }
}

impl History {
    /// The history of a setting that the process started with.
    pub fn of_stored_setting(desired: Replicas) -> Self {
        Self { in_effect: InEffect::Perhaps(desired), ..Self::default() }
    }

    /// Takes note of a drift.
    pub fn record_drift(&mut self, drift: &Drift, now: Instant) -> Sighting {
        self.damping.record_drift(now);
        if self.open.as_ref().is_some_and(|open| open.is_same_as(drift)) {
            return Sighting::Known;
        }
        self.last = Some(drift.clone());
        self.drifts += 1;
        Sighting::New { instead_of: self.open.replace(drift.clone()) }
    }

    /// Takes note that there is no such Deployment: a setting that has not been seen in effect is not.
    pub fn record_missing(&mut self) {
        match self.in_effect {
            InEffect::NotYet | InEffect::Perhaps(_) => self.in_effect = InEffect::NotYet,
            InEffect::Was(_) => {}
        }
    }

    /// Takes note that a drift was put back by an answered write of ours.
    pub fn record_repaired(&mut self, desired: Replicas, moment: Moment) {
        self.record_bout(moment);
        self.end_drift(desired);
    }

    /// Takes note that a new setting was put into effect, and returns the drift that has ended with it.
    pub fn record_applied(&mut self, desired: Replicas) -> Option<Drift> {
        self.end_drift(desired)
    }

    /// Takes note that the cluster has the desired count, and returns the drift that has ended with it.
    ///
    /// If we tried to put it back, perhaps that was us, by a write without an answer. One that was sent away wrote nothing.
    pub fn record_in_effect(&mut self, desired: Replicas, moment: Moment) -> Option<Drift> {
        let wrote = self.failures.as_ref().is_some_and(|failures| failures.last != Failure::Throttled);
        if self.open.is_some() && wrote {
            self.record_bout(moment);
        }
        // The API server wants to be left alone all the same: the next drift may come at once.
        let wish =
            self.failures.take_if(|failures| failures.last == Failure::Throttled && failures.due > moment.at);
        let ended = self.end_drift(desired);
        self.failures = wish;
        ended
    }

    fn end_drift(&mut self, desired: Replicas) -> Option<Drift> {
        self.in_effect = InEffect::Was(desired);
        self.failures = None;
        self.open.take()
    }

    /// Takes note of an attempt on the object `uid` that failed, and returns the row of failures that it ends.
    ///
    /// `at_least` is how long the API server asked to wait.
    pub fn record_failure(
        &mut self,
        uid: &Uid,
        failure: Failure,
        at_least: Duration,
        moment: Moment,
    ) -> &Failures {
        if failure == Failure::Stale {
            self.record_bout(moment);
        }
        let before = self.failures.take();
        self.failures.insert(Failures::after(before, uid, failure, at_least, moment))
    }

    fn record_bout(&mut self, moment: Moment) {
        let budget = if self.autoscaler.is_some() { BUDGET_OF_AUTOSCALED } else { BUDGET };
        self.damping.record_bout(budget, moment);
    }

    /// Takes note of the autoscaler that targets the Deployment; true if it is another one than before.
    ///
    /// When there is none any more, the opponent is gone and all is forgiven.
    pub fn record_autoscaler(&mut self, autoscaler: Option<&Arc<str>>) -> bool {
        if self.autoscaler.as_ref() == autoscaler {
            return false;
        }
        self.autoscaler = autoscaler.cloned();
        if autoscaler.is_none() {
            self.damping = Damping::default();
        }
        true
    }

    /// When the next attempt on the object `uid` may be made, if it has to wait: for failures, of which a re-created
    /// Deployment knows nothing, and for an opponent, who may be the one who re-creates it.
    pub fn retry_at(&self, uid: &Uid) -> Option<Instant> {
        let failures = self.failures.as_ref().filter(|failures| failures.concern(uid));
        let after_failures = failures.and_then(|failures| failures.retry_at);
        after_failures.max(self.damping.contest().map(|contest| contest.next_repair))
    }

    /// Who else has a say in the count.
    pub fn opposition(&self) -> Opposition {
        match (&self.autoscaler, &self.damping) {
            (Some(_), _) => Opposition::Autoscaler,
            (None, Damping::Contested(_)) => Opposition::Contest,
            (None, Damping::Calm { .. }) => Opposition::None,
        }
    }

    /// The setting has changed, and wants this count: begins anew, unless the API server asked to wait. If the count is only
    /// confirmed, a fight over it goes on, but the next repair does not wait.
    pub fn forgive_for_new_setting(&mut self, desired: Replicas) {
        self.failures.take_if(|failures| failures.end_with_new_setting());
        let is_confirmed = match self.in_effect {
            InEffect::NotYet => false,
            InEffect::Perhaps(before) | InEffect::Was(before) => before == desired,
        };
        if is_confirmed {
            self.damping.hasten();
        } else {
            self.damping = Damping::default();
        }
    }

    /// The API server is reached again, and what is observed is current again: forgets failures, if that is what caused
    /// them. True if so.
    pub fn forgive_for_contact(&mut self) -> bool {
        self.failures.take_if(|failures| failures.end_with_contact()).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment() -> Moment {
        Moment { at: Instant::now(), jitter: 1.0 }
    }

    fn drift(uid: &str, to: i32, second: i64) -> Drift {
        let count = |n| Replicas::new(n).expect("valid");
        let at = Timestamp::from_second(second).expect("in range");
        Drift { uid: uid.into(), by: None, at, from: count(1), to: count(to) }
    }

    #[test]
    fn one_drift_is_counted_once() {
        let (mut history, now) = (History::default(), Instant::now());
        let new = |instead_of| Sighting::New { instead_of };
        assert_eq!(history.record_drift(&drift("a", 2, 0), now), new(None));
        assert_eq!(history.record_drift(&drift("a", 2, 1), now), Sighting::Known, "seen again");
        assert_eq!(
            history.record_drift(&drift("a", 3, 2), now),
            new(Some(drift("a", 2, 0))),
            "another count"
        );
        assert_eq!(
            history.record_drift(&drift("b", 3, 3), now),
            new(Some(drift("a", 3, 2))),
            "another object"
        );
        let desired = one();
        assert_eq!(history.record_in_effect(desired, moment()), Some(drift("b", 3, 3)));
        assert_eq!(history.record_in_effect(desired, moment()), None, "nothing was open");
        assert_eq!(history.record_drift(&drift("b", 3, 4), now), new(None), "again after a repair");
        assert_eq!((history.drifts, history.last), (4, Some(drift("b", 3, 4))));
    }

    #[test]
    fn another_write_of_the_same_manager_is_no_new_drift() {
        let by = |manager: &str, second| FieldOwner {
            manager: manager.into(),
            operation: Operation::Update,
            subresource: None,
            time: Some(Timestamp::from_second(second).expect("in range")),
        };
        let drift = |manager, second| Drift { by: Some(by(manager, second)), ..drift("a", 2, second) };
        let (mut history, now) = (History::default(), Instant::now());
        history.record_drift(&drift("kubectl", 0), now);
        assert_eq!(history.record_drift(&drift("kubectl", 1), now), Sighting::Known);
        assert_ne!(history.record_drift(&drift("helm", 1), now), Sighting::Known);
    }

    #[test]
    fn what_was_seen_missing_has_not_been_in_effect_unless_it_was_seen_so() {
        let one = one();
        for (before, after) in [
            (InEffect::NotYet, InEffect::NotYet),
            (InEffect::Perhaps(one), InEffect::NotYet),
            (InEffect::Was(one), InEffect::Was(one)),
        ] {
            let mut history = History { in_effect: before, ..History::default() };
            history.record_missing();
            assert_eq!(history.in_effect, after);
        }
    }

    #[test]
    fn a_recreated_deployment_waits_only_if_the_api_server_asks() {
        for failure in [Failure::Refused, Failure::Throttled] {
            let mut history = History::default();
            let retry_at = history.record_failure(&"a".into(), failure, Duration::ZERO, moment()).retry_at;
            assert_eq!(history.retry_at(&"a".into()), retry_at, "{failure:?}");
            let of_another = retry_at.filter(|_| failure == Failure::Throttled);
            assert_eq!(history.retry_at(&"b".into()), of_another, "{failure:?}");
        }
    }

    #[test]
    fn a_drift_that_ends_by_itself_does_not_end_the_wish_of_the_api_server() {
        for failure in [Failure::Unreachable, Failure::Throttled] {
            let mut history = History::default();
            history.record_drift(&drift("a", 2, 0), Instant::now());
            let due = history.record_failure(&"a".into(), failure, Duration::from_secs(1), moment()).due;
            assert!(history.record_in_effect(one(), moment()).is_some(), "{failure:?}");
            let wish = Some(due).filter(|_| failure == Failure::Throttled);
            assert_eq!(history.retry_at(&"a".into()), wish, "{failure:?}");
            history.record_in_effect(one(), Moment { at: due, jitter: 0.0 });
            assert_eq!(history.failures, None, "{failure:?}");
        }
    }

    /// A history of a target whose next bout begins a contest, with a drift open.
    fn on_the_brink() -> History {
        let mut history =
            History { autoscaler: Some("HorizontalPodAutoscaler/web".into()), ..History::default() };
        history.record_drift(&drift("a", 2, 0), Instant::now());
        history
    }

    type Event = fn(&mut History);

    fn one() -> Replicas {
        Replicas::new(1).expect("valid")
    }

    fn fail(history: &mut History, failure: Failure) {
        history.record_failure(&"a".into(), failure, Duration::ZERO, moment());
    }

    #[test]
    fn what_an_opponent_caused_is_a_bout() {
        let cases: [(&str, Event, bool); 7] = [
            ("repaired", |history| history.record_repaired(one(), moment()), true),
            ("a new setting", |history| drop(history.record_applied(one())), false),
            ("somebody put it back", |history| drop(history.record_in_effect(one(), moment())), false),
            ("stale", |history| fail(history, Failure::Stale), true),
            ("not reached", |history| fail(history, Failure::Unreachable), false),
            (
                "not answered, but landed",
                |history| {
                    fail(history, Failure::Deadline);
                    history.record_in_effect(one(), moment());
                },
                true,
            ),
            (
                "sent away, and somebody put it back",
                |history| {
                    fail(history, Failure::Throttled);
                    history.record_in_effect(one(), moment());
                },
                false,
            ),
        ];
        for (what, event, expected) in cases {
            let mut history = on_the_brink();
            event(&mut history);
            assert_eq!(history.damping.contest().is_some(), expected, "{what}");
        }
    }

    #[test]
    fn a_count_that_is_confirmed_is_repaired_once_more() {
        let mut history = History::default();
        for _ in 0..BUDGET {
            history.record_repaired(one(), moment());
        }
        for _ in 0..3 {
            assert!(history.retry_at(&"a".into()).is_some_and(|at| at > Instant::now()), "no new budget");
            history.forgive_for_new_setting(one());
            assert!(history.retry_at(&"a".into()).is_none_or(|at| at <= Instant::now()));
            history.record_repaired(one(), moment());
        }
    }

    #[test]
    fn a_contest_is_forgiven_when_its_reason_is_gone() {
        let cases: [(&str, Event); 2] = [
            ("a new setting", |history| history.forgive_for_new_setting(Replicas::new(7).expect("valid"))),
            ("no autoscaler any more", |history| assert!(history.record_autoscaler(None))),
        ];
        for (what, event) in cases {
            let mut history = on_the_brink();
            history.record_repaired(one(), moment());
            assert!(history.retry_at(&"a".into()).is_some());
            event(&mut history);
            assert_eq!(history.retry_at(&"a".into()), None, "{what}");
        }
    }

    #[test]
    fn an_autoscaler_is_news_once() {
        let (web, other) = (Arc::from("web"), Arc::from("other"));
        let mut history = History::default();
        for (autoscaler, is_news, opposition) in [
            (None, false, Opposition::None),
            (Some(&web), true, Opposition::Autoscaler),
            (Some(&web), false, Opposition::Autoscaler),
            (Some(&other), true, Opposition::Autoscaler),
            (None, true, Opposition::None),
        ] {
            assert_eq!(history.record_autoscaler(autoscaler), is_news, "{autoscaler:?}");
            assert_eq!(history.opposition(), opposition, "{autoscaler:?}");
        }
    }
}
