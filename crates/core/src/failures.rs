//! Writes that failed in a row, and how long to wait after them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::backoff::Backoff;
use crate::replicas::Replicas;
use crate::uid::Uid;

/// How long to wait after a failed write.
pub const BACKOFF: Backoff = Backoff { base: Duration::from_millis(50), cap: Duration::from_secs(30) };
/// After a stale decision, the next attempt is made as soon as the watch shows a change, unless this many in a row were
/// stale.
pub const STALE_IN_A_ROW: u32 = 3;

/// How long a write may take. Admission webhooks may take 30 seconds, so each write that runs out of time makes the next
/// ones longer.
pub const WRITE_DEADLINES: [Duration; 4] =
    [Duration::from_secs(5), Duration::from_secs(10), Duration::from_secs(20), Duration::from_secs(35)];

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
    /// The count that admission stored instead of the desired one in the last attempt that was altered.
    pub altered_to: Option<Replicas>,
    /// What people need to know about them. `None`: nothing yet.
    pub details: Option<Arc<FailureDetails>>,
}

/// What people need to know about failed attempts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailureDetails {
    /// When the first of them failed.
    pub since: Timestamp,
    /// The HTTP status of the last answer. `None`: there was no answer.
    pub code: Option<u16>,
    /// Why the last one failed, for people.
    pub message: String,
}

/// A failed write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteError {
    /// Why it failed.
    pub failure: Failure,
    /// The HTTP status of the answer. `None`: there was no answer.
    pub code: Option<u16>,
    /// Why it failed, for people.
    pub message: String,
    /// How long the API server asked to wait. Zero: it did not ask.
    pub retry_after: Duration,
}

impl WriteError {
    /// A failure after which the API server did not ask to wait.
    pub fn new(failure: Failure, code: Option<u16>, message: String) -> Self {
        Self { failure, code, message, retry_after: Duration::ZERO }
    }
}

/// Why an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The state that it was decided on had changed.
    Stale,
    /// The API server asked to wait.
    Throttled,
    /// The API server did not accept the credentials.
    Unauthorized,
    /// A permission was missing.
    Forbidden,
    /// An admission policy or webhook denied the write.
    Denied,
    /// An admission policy or webhook changed the count: the write succeeded, but not with the desired count.
    Altered,
    /// The API server refused the write as invalid.
    Refused,
    /// The API server ran out of time, for example because of a slow admission webhook.
    TimedOut,
    /// The API server failed, or refused for another reason.
    Failed,
    /// The API server could not be reached.
    Unreachable,
    /// There was no answer in time.
    Deadline,
}

impl Failure {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Stale,
        Self::Throttled,
        Self::Unauthorized,
        Self::Forbidden,
        Self::Denied,
        Self::Altered,
        Self::Refused,
        Self::TimedOut,
        Self::Failed,
        Self::Unreachable,
        Self::Deadline,
    ];

    /// Its stable name in the log and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stale => "stale",
            Self::Throttled => "throttled",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::Denied => "denied",
            Self::Altered => "altered",
            Self::Refused => "refused",
            Self::TimedOut => "timed_out",
            Self::Failed => "failed",
            Self::Unreachable => "unreachable",
            Self::Deadline => "deadline",
        }
    }

    /// Whether more time might have helped.
    pub fn is_lack_of_time(self) -> bool {
        match self {
            Self::TimedOut | Self::Deadline => true,
            Self::Stale
            | Self::Throttled
            | Self::Unauthorized
            | Self::Forbidden
            | Self::Denied
            | Self::Altered
            | Self::Refused
            | Self::Failed
            | Self::Unreachable => false,
        }
    }

    /// Whether the desired count may have been written although there was no success.
    pub fn may_have_landed(self) -> bool {
        match self {
            Self::TimedOut | Self::Failed | Self::Unreachable | Self::Deadline => true,
            Self::Stale
            | Self::Throttled
            | Self::Unauthorized
            | Self::Forbidden
            | Self::Denied
            | Self::Altered
            | Self::Refused => false,
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
        let altered = before.as_ref().filter(|before| before.uid == *uid);
        let altered_to = altered.and_then(|before| before.altered_to);
        let (in_a_row, same_reason, details) = match before.filter(|before| before.apply_to(uid)) {
            Some(before) if before.last == failure => (before.in_a_row, before.same_reason, before.details),
            Some(before) => (before.in_a_row, 0, before.details),
            None => (0, 0, None),
        };
        let (in_a_row, same_reason) = (in_a_row.saturating_add(1), same_reason.saturating_add(1));
        // The delay is added to Retry-After: clients that were throttled together must not retry together.
        let due = now + retry_after + BACKOFF.delay(in_a_row, jitter);
        let is_retried_at_once = failure == Failure::Stale && same_reason < STALE_IN_A_ROW;
        let retry_at = (!is_retried_at_once).then_some(due);
        Self { uid: uid.clone(), last: failure, in_a_row, same_reason, due, retry_at, altered_to, details }
    }

    /// Adds what people need to know about the last attempt.
    pub fn describe(&mut self, code: Option<u16>, message: String, now: Timestamp) {
        let since = self.details.as_ref().map_or(now, |details| details.since);
        self.details = Some(Arc::new(FailureDetails { since, code, message }));
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
            | Failure::Unauthorized
            | Failure::Forbidden
            | Failure::Denied
            | Failure::Altered
            | Failure::Refused
            | Failure::TimedOut
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
            Failure::Stale | Failure::Unauthorized | Failure::Unreachable | Failure::Deadline => true,
            Failure::Throttled
            | Failure::Forbidden
            | Failure::Denied
            | Failure::Altered
            | Failure::Refused
            | Failure::TimedOut
            | Failure::Failed => false,
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
