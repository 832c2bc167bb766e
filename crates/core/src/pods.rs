//! What drifts cost in pods, as far as the status of a workload shows.
//!
//! The controllers act on a wrong count before any repair can arrive, and the status follows them. So the pods are
//! counted while a drift lasts, and for [`LATE`] after its end.

use std::time::{Duration, Instant};

use crate::drift::Drift;
use crate::observed::Observed;
use crate::replicas::Replicas;

/// How long after its end a drift is held responsible for pods that are no longer ready.
pub const LATE: Duration = Duration::from_secs(30);

/// How many pods are missing of those that were ready `before`: the desired ones only, because the others are surplus.
/// Negative numbers, which API servers do not refuse in a status, count as 0.
pub fn missing(before: i32, ready: i32, desired: Replicas) -> u32 {
    let missing = before.min(desired.get()).saturating_sub(ready.max(0));
    u32::try_from(missing).unwrap_or(0)
}

/// What the last drift of a target has cost.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pods {
    /// How many pods it has cost so far.
    lost: u32,
    /// `None`: no more are counted.
    counting: Option<Box<Counting>>,
}

/// Pods are being counted.
#[derive(Clone, Debug, PartialEq)]
struct Counting {
    drift: Drift,
    /// How many were ready before the drift.
    before: i32,
    /// How many lost pods were reported when the drift ended, and until when more are counted. `None`: it has not ended.
    ended: Option<(u32, Instant)>,
}

/// A drift has cost more than was reported at its end.
#[derive(Clone, Debug, PartialEq)]
pub struct LateCost {
    /// The drift.
    pub drift: Drift,
    /// How many pods it has cost in all.
    pub pods_lost: u32,
}

impl Pods {
    /// How many pods the last drift has cost so far.
    pub fn lost(&self) -> u32 {
        self.lost
    }

    /// When this has to be looked at again, whatever happens.
    pub fn due(&self) -> Option<Instant> {
        self.counting.as_ref()?.ended.map(|(_, until)| until)
    }

    /// Begins to count what a new drift costs. Returns what there is to say of the drift before.
    pub fn begin(&mut self, drift: &Drift, observed: &Observed) -> Option<LateCost> {
        let late = self.end();
        let before = observed.ready_before.max(observed.ready);
        self.lost = 0;
        // Without a pod there is none to lose.
        let counting = || Box::new(Counting { drift: drift.clone(), before, ended: None });
        self.counting = (missing(before, 0, drift.from) > 0).then(counting);
        late
    }

    /// Counts the pods of a workload that is desired to have `desired`. Returns how many more are lost, and what there
    /// is to say if no more are counted from now on.
    pub fn observe(
        &mut self,
        observed: &Observed,
        desired: Replicas,
        now: Instant,
    ) -> (u32, Option<LateCost>) {
        let Some(Counting { drift, before, ended }) = self.counting.as_deref() else { return (0, None) };
        if drift.uid != observed.uid || observed.deleting {
            return (0, self.end());
        }
        let is_over = ended.is_some_and(|(_, until)| until <= now);
        let missing = if is_over { 0 } else { missing(*before, observed.ready, desired) };
        let is_whole_again = ended.is_some() && self.lost > 0 && missing == 0;
        let more = missing.saturating_sub(self.lost);
        self.lost += more;
        (more, if is_over || is_whole_again { self.end() } else { None })
    }

    /// Records that the drift has ended. Returns how many pods it has cost so far.
    pub fn end_drift(&mut self, now: Instant) -> u32 {
        if let Some(counting) = &mut self.counting {
            counting.ended.get_or_insert((self.lost, now + LATE));
        }
        self.lost
    }

    /// Counts no more. Returns what there is to say then.
    pub fn end(&mut self) -> Option<LateCost> {
        let Counting { drift, ended, .. } = *self.counting.take()?;
        let (reported, _) = ended?;
        (self.lost > reported).then_some(LateCost { drift, pods_lost: self.lost })
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::*;

    fn count(n: i32) -> Replicas {
        Replicas::new(n).expect("valid")
    }

    fn drift(from: i32, to: i32) -> Drift {
        let at = Timestamp::UNIX_EPOCH;
        Drift { uid: "u".into(), by: None, likely_by: None, at, from: count(from), to: count(to) }
    }

    fn observed(ready_before: i32, ready: i32) -> Observed {
        Observed {
            uid: "u".into(),
            resource_version: None,
            replicas: count(0),
            ready,
            ready_before,
            deleting: false,
            owner: None,
        }
    }

    /// A drift from 5 to 0 of a workload with 5 ready pods.
    fn begun() -> Pods {
        let mut pods = Pods::default();
        assert_eq!(pods.begin(&drift(5, 0), &observed(5, 5)), None);
        pods
    }

    #[test]
    fn pods_that_the_status_shows_too_late_are_counted() {
        let (mut pods, now) = (begun(), Instant::now());
        assert_eq!(pods.observe(&observed(5, 4), count(5), now), (1, None));
        assert_eq!(pods.end_drift(now), 1);
        assert_eq!(pods.due(), Some(now + LATE));
        assert_eq!(pods.observe(&observed(5, 0), count(5), now), (4, None));
        assert_eq!(pods.observe(&observed(5, 2), count(5), now), (0, None), "the new ones come");
        let late = Some(LateCost { drift: drift(5, 0), pods_lost: 5 });
        assert_eq!(pods.observe(&observed(5, 5), count(5), now), (0, late));
        assert_eq!(pods.observe(&observed(5, 1), count(5), now), (0, None), "no more are counted");
        assert_eq!((pods.lost(), pods.due()), (5, None));
    }

    #[test]
    fn a_drift_is_not_responsible_for_ever() {
        let (mut pods, now) = (begun(), Instant::now());
        pods.end_drift(now);
        assert_eq!(pods.observe(&observed(5, 0), count(5), now + LATE), (0, None));
        assert_eq!((pods.lost(), pods.due()), (0, None));
    }

    #[test]
    fn only_the_object_of_the_drift_is_looked_at() {
        let now = Instant::now();
        for other in
            [Observed { uid: "v".into(), ..observed(5, 0) }, Observed { deleting: true, ..observed(5, 0) }]
        {
            let mut pods = begun();
            assert_eq!(pods.observe(&other, count(5), now), (0, None));
            assert_eq!(pods.observe(&observed(5, 0), count(5), now), (0, None));
        }
    }

    #[test]
    fn what_a_new_setting_or_a_surplus_takes_is_not_lost() {
        let (mut pods, now) = (begun(), Instant::now());
        assert_eq!(pods.observe(&observed(5, 2), count(2), now), (0, None), "2 are desired now");
        pods.begin(&drift(3, 7), &observed(3, 7));
        assert_eq!(pods.observe(&observed(3, 3), count(3), now), (0, None));
    }

    #[test]
    fn what_was_ready_before_the_count_changed_counts() {
        let mut pods = Pods::default();
        pods.begin(&drift(5, 0), &observed(5, 1));
        assert_eq!(pods.observe(&observed(5, 1), count(5), Instant::now()), (4, None));
    }

    proptest! {
        /// Whatever the status shows: exactly the deepest gap is counted, in parts that add up to it, and what is
        /// reported in the end is that or nothing new.
        #[test]
        fn the_deepest_gap_is_counted_once(
            desired in 0..9,
            before in -1..9,
            during in prop::collection::vec(-1..9, 0..5),
            after in prop::collection::vec(-1..9, 0..5),
        ) {
            let (now, desired) = (Instant::now(), count(desired));
            let mut pods = Pods::default();
            pods.begin(&Drift { from: desired, ..drift(0, 0) }, &observed(before, before));
            let mut counted = 0;
            for ready in &during {
                let (more, late) = pods.observe(&observed(before, *ready), desired, now);
                counted += more;
                prop_assert_eq!(late, None, "the drift lasts");
            }
            let reported = pods.end_drift(now);
            prop_assert_eq!(reported, counted);
            let (mut late, mut shown) = (None, during);
            for ready in after {
                let is_counting = pods.due().is_some();
                let (more, end) = pods.observe(&observed(before, ready), desired, now);
                counted += more;
                late = late.or(end);
                if is_counting {
                    shown.push(ready);
                }
            }
            late = late.or(pods.end());
            let deepest = shown.iter().map(|ready| missing(before, *ready, desired)).max().unwrap_or(0);
            prop_assert_eq!((counted, pods.lost()), (deepest, deepest));
            prop_assert!(i64::from(deepest) <= i64::from(before.max(0)));
            prop_assert_eq!(late.map(|late| late.pods_lost), (deepest > reported).then_some(deepest));
        }
    }
}
