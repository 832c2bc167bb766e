//! Writes that failed in a row, and how long to wait after them.

use std::time::{Duration, Instant};

use crate::backoff::Backoff;
use crate::uid::Uid;

/// How long to wait after a failed write.
pub const BACKOFF: Backoff = Backoff { base: Duration::from_millis(50), cap: Duration::from_secs(30) };
/// After a stale decision, the next attempt is made as soon as the watch shows a change, unless this many in a row were
/// stale.
pub const STALE_IN_A_ROW: u32 = 3;

/// Consecutive failed attempts.
#[derive(Clone, Debug, PartialEq)]
pub struct Failures {
    /// The object they were made on.
    pub uid: Uid,
    /// Why the last one failed.
    pub last: Failure,
    /// How many attempts failed in a row.
    pub in_a_row: u32,
    /// How many of the latest of them failed for the reason of the last one.
    pub same_reason: u32,
    /// When to try again, unless the watch shows a change before.
    pub due: Instant,
    /// No attempt before this time, whatever the watch shows.
    pub retry_at: Option<Instant>,
}

/// Why an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The state that it was decided on had changed.
    Stale,
    /// The API server asked to wait.
    Throttled,
    /// A permission was missing.
    Forbidden,
    /// The API server, or a policy in it, refused the count.
    Refused,
    /// The API server failed, or refused for another reason.
    Failed,
    /// The API server could not be reached.
    Unreachable,
    /// There was no answer in time.
    Deadline,
}

impl Failure {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Stale,
        Self::Throttled,
        Self::Forbidden,
        Self::Refused,
        Self::Failed,
        Self::Unreachable,
        Self::Deadline,
    ];

    /// Its stable name in the log and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stale => "stale",
            Self::Throttled => "throttled",
            Self::Forbidden => "forbidden",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Unreachable => "unreachable",
            Self::Deadline => "deadline",
        }
    }
}

impl Failures {
    /// Adds a failed attempt on the object `uid` to those `before`, or starts counting anew.
    ///
    /// `retry_after` is how long the API server asked to wait, `jitter` a random number in 0..1.
    pub fn after(
        before: Option<Self>,
        uid: &Uid,
        failure: Failure,
        retry_after: Duration,
        now: Instant,
        jitter: f64,
    ) -> Self {
        let (in_a_row, same_reason) = match before.filter(|before| before.apply_to(uid)) {
            Some(before) if before.last == failure => (before.in_a_row, before.same_reason),
            Some(before) => (before.in_a_row, 0),
            None => (0, 0),
        };
        let (in_a_row, same_reason) = (in_a_row.saturating_add(1), same_reason.saturating_add(1));
        // The delay is added to Retry-After: clients that were throttled together must not retry together.
        let due = now + retry_after + BACKOFF.delay(in_a_row, jitter);
        let is_retried_at_once = failure == Failure::Stale && same_reason < STALE_IN_A_ROW;
        let retry_at = (!is_retried_at_once).then_some(due);
        Self { uid: uid.clone(), last: failure, in_a_row, same_reason, due, retry_at }
    }

    /// Whether they apply to the object `uid`. Throttling applies to every object.
    pub fn apply_to(&self, uid: &Uid) -> bool {
        self.uid == *uid || self.last == Failure::Throttled
    }

    /// Whether to log a warning: for the first failure with a new reason, and for decisions that stay stale.
    pub fn should_warn(&self) -> bool {
        let threshold = match self.last {
            Failure::Stale => STALE_IN_A_ROW,
            Failure::Throttled
            | Failure::Forbidden
            | Failure::Refused
            | Failure::Failed
            | Failure::Unreachable
            | Failure::Deadline => 1,
        };
        self.same_reason == threshold
    }

    /// Whether a new setting clears them. It does not clear throttling.
    pub fn clear_on_new_setting(&self) -> bool {
        self.last != Failure::Throttled
    }

    /// Whether they are cleared once the API server is reachable and the observed state is current again.
    pub fn clear_on_reconnect(&self) -> bool {
        match self.last {
            Failure::Stale | Failure::Unreachable | Failure::Deadline => true,
            Failure::Throttled | Failure::Forbidden | Failure::Refused | Failure::Failed => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn are_counted_by_object_and_by_reason() {
        use Failure::{Forbidden, Stale, Throttled};
        let mut failures = None;
        for (uid, failure, expected) in [
            ("a", Stale, (1, 1)),
            ("a", Stale, (2, 2)),
            ("a", Forbidden, (3, 1)),
            ("a", Stale, (4, 1)),
            ("b", Stale, (1, 1)),
            ("b", Throttled, (2, 1)),
            ("c", Stale, (3, 1)),
        ] {
            let after = Failures::after(failures, &uid.into(), failure, Duration::ZERO, Instant::now(), 1.0);
            assert_eq!((after.in_a_row, after.same_reason), expected, "{uid} {failure:?}");
            failures = Some(after);
        }
    }

    #[test]
    fn back_off_and_honour_retry_after() {
        let (now, mut failures) = (Instant::now(), None);
        for (failure, retry_after_ms, expected_ms, may_retry_at_once) in [
            (Failure::Stale, 0, 50, true),
            (Failure::Stale, 0, 100, true),
            (Failure::Stale, 0, 200, false),
            (Failure::Failed, 0, 400, false),
            (Failure::Throttled, 7_000, 7_800, false),
            (Failure::Throttled, 1_000, 2_600, false),
        ] {
            let retry_after = Duration::from_millis(retry_after_ms);
            let after = Failures::after(failures, &"u".into(), failure, retry_after, now, 1.0);
            let due = now + Duration::from_millis(expected_ms);
            let retry_at = (!may_retry_at_once).then_some(due);
            assert_eq!((after.due, after.retry_at), (due, retry_at), "{failure:?}");
            failures = Some(after);
        }
    }

    #[test]
    fn are_cleared_by_what_may_fix_them() {
        use Failure::{Deadline, Failed, Forbidden, Refused, Stale, Throttled, Unreachable};
        for (failure, by_setting, by_reconnect) in [
            (Stale, true, true),
            (Throttled, false, false),
            (Forbidden, true, false),
            (Refused, true, false),
            (Failed, true, false),
            (Unreachable, true, true),
            (Deadline, true, true),
        ] {
            let failures = Failures::after(None, &"u".into(), failure, Duration::ZERO, Instant::now(), 1.0);
            assert_eq!(failures.clear_on_new_setting(), by_setting, "{failure:?}");
            assert_eq!(failures.clear_on_reconnect(), by_reconnect, "{failure:?}");
        }
    }

    #[test]
    fn warn_about_new_reasons_and_lasting_staleness() {
        use Failure::{Failed, Forbidden, Stale};
        let cases = [
            (Stale, false),
            (Forbidden, true),
            (Forbidden, false),
            (Failed, true),
            (Stale, false),
            (Stale, false),
            (Stale, true),
            (Stale, false),
            (Forbidden, true),
        ];
        let mut failures = None;
        for (n, (failure, expected)) in cases.into_iter().enumerate() {
            let after = Failures::after(failures, &"u".into(), failure, Duration::ZERO, Instant::now(), 1.0);
            assert_eq!(after.should_warn(), expected, "failure {n}");
            failures = Some(after);
        }
    }
}
