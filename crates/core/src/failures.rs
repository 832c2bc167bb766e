//! Writes that failed in a row, and how long to wait after them.

use std::time::{Duration, Instant};

use crate::backoff::Backoff;
use crate::uid::Uid;

/// How long to wait after a failed write.
pub const BACKOFF: Backoff = Backoff { base: Duration::from_millis(50), cap: Duration::from_secs(30) };
/// A stale decision is repeated as soon as the watch shows more, unless it was stale this often in a row.
pub const STALE_IN_A_ROW: u32 = 3;

/// Attempts that failed in a row.
#[derive(Clone, Debug, PartialEq)]
pub struct Failures {
    /// The object they were made on.
    pub uid: Uid,
    /// Why the last one failed.
    pub last: Failure,
    /// How many there are.
    pub in_a_row: u32,
    /// How many of the newest failed for the same reason as the last one.
    pub alike: u32,
    /// When to try again, unless the watch shows something before.
    pub due: Instant,
    /// No attempt before this time, whatever the watch shows.
    pub retry_at: Option<Instant>,
}

/// Why an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// What it was decided on had changed.
    Stale,
    /// The API server asked to wait.
    Throttled,
    /// A right was missing.
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

    /// A stable word for the log and for metrics.
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
    /// Adds a failed attempt on the object `uid` to the row, or starts a new row.
    ///
    /// `at_least` is how long the API server asked to wait, `jitter` a random number in 0..1.
    pub fn after(
        before: Option<Self>,
        uid: &Uid,
        failure: Failure,
        at_least: Duration,
        now: Instant,
        jitter: f64,
    ) -> Self {
        let (in_a_row, alike) = match before.filter(|before| before.concern(uid)) {
            Some(before) if before.last == failure => (before.in_a_row, before.alike),
            Some(before) => (before.in_a_row, 0),
            None => (0, 0),
        };
        let (in_a_row, alike) = (in_a_row.saturating_add(1), alike.saturating_add(1));
        // In addition to what was asked: everybody who was sent away together must not come back together.
        let due = now + at_least + BACKOFF.delay(in_a_row, jitter);
        let is_repeated_at_once = failure == Failure::Stale && alike < STALE_IN_A_ROW;
        let retry_at = (!is_repeated_at_once).then_some(due);
        Self { uid: uid.clone(), last: failure, in_a_row, alike, due, retry_at }
    }

    /// Whether they concern the object `uid`. A request of the API server to wait concerns every object.
    pub fn concern(&self, uid: &Uid) -> bool {
        self.uid == *uid || self.last == Failure::Throttled
    }

    /// Whether people should be warned: of the first failure for a new reason, and of a decision that stays stale.
    pub fn are_news(&self) -> bool {
        let worth_a_warning = match self.last {
            Failure::Stale => STALE_IN_A_ROW,
            Failure::Throttled
            | Failure::Forbidden
            | Failure::Refused
            | Failure::Failed
            | Failure::Unreachable
            | Failure::Deadline => 1,
        };
        self.alike == worth_a_warning
    }

    /// Whether a new setting ends them. It does not end a request of the API server to wait.
    pub fn end_with_new_setting(&self) -> bool {
        self.last != Failure::Throttled
    }

    /// Whether they end when the API server can be reached again and the observed state is current again.
    pub fn end_with_contact(&self) -> bool {
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
        let mut row = None;
        for (uid, failure, expected) in [
            ("a", Stale, (1, 1)),
            ("a", Stale, (2, 2)),
            ("a", Forbidden, (3, 1)),
            ("a", Stale, (4, 1)),
            ("b", Stale, (1, 1)),
            ("b", Throttled, (2, 1)),
            ("c", Stale, (3, 1)),
        ] {
            let after = Failures::after(row, &uid.into(), failure, Duration::ZERO, Instant::now(), 1.0);
            assert_eq!((after.in_a_row, after.alike), expected, "{uid} {failure:?}");
            row = Some(after);
        }
    }

    #[test]
    fn wait_ever_longer_and_as_long_as_asked() {
        let (now, mut row) = (Instant::now(), None);
        for (failure, at_least_ms, expected_ms, is_free) in [
            (Failure::Stale, 0, 50, true),
            (Failure::Stale, 0, 100, true),
            (Failure::Stale, 0, 200, false),
            (Failure::Failed, 0, 400, false),
            (Failure::Throttled, 7_000, 7_800, false),
            (Failure::Throttled, 1_000, 2_600, false),
        ] {
            let at_least = Duration::from_millis(at_least_ms);
            let after = Failures::after(row, &"u".into(), failure, at_least, now, 1.0);
            let due = now + Duration::from_millis(expected_ms);
            assert_eq!((after.due, after.retry_at), (due, (!is_free).then_some(due)), "{failure:?}");
            row = Some(after);
        }
    }

    #[test]
    fn end_with_what_may_cure_them() {
        use Failure::{Deadline, Failed, Forbidden, Refused, Stale, Throttled, Unreachable};
        for (failure, by_a_setting, by_contact) in [
            (Stale, true, true),
            (Throttled, false, false),
            (Forbidden, true, false),
            (Refused, true, false),
            (Failed, true, false),
            (Unreachable, true, true),
            (Deadline, true, true),
        ] {
            let row = Failures::after(None, &"u".into(), failure, Duration::ZERO, Instant::now(), 1.0);
            assert_eq!(row.end_with_new_setting(), by_a_setting, "{failure:?}");
            assert_eq!(row.end_with_contact(), by_contact, "{failure:?}");
        }
    }

    #[test]
    fn warn_when_the_reason_changes_and_of_what_stays_stale() {
        use Failure::{Failed, Forbidden, Stale};
        let failures = [
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
        let mut row = None;
        for (n, (failure, expected)) in failures.into_iter().enumerate() {
            let after = Failures::after(row, &"u".into(), failure, Duration::ZERO, Instant::now(), 1.0);
            assert_eq!(after.are_news(), expected, "failure {n}");
            row = Some(after);
        }
    }
}
