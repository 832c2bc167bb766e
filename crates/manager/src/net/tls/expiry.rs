//! When certificates expire, and when to warn before that.

use jiff::{SignedDuration, Timestamp};

/// How long before the expiry to warn, the earliest first. The last warning comes at the expiry itself.
const WARN_BEFORE: [SignedDuration; 4] = [days(30), days(7), days(1), days(0)];

/// The validity period of one certificate, or the common period of several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) not_before: Timestamp,
    pub(super) not_after: Timestamp,
}

impl Validity {
    /// The common period of both.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            not_before: self.not_before.max(other.not_before),
            not_after: self.not_after.min(other.not_after),
        }
    }

    /// How many warnings are due at `now`.
    ///
    /// None is due before two thirds of the period have passed: until then, automation that renews short-lived
    /// certificates has nothing to do.
    pub(super) fn due_warnings(self, now: Timestamp) -> usize {
        let (elapsed, total) =
            (now.duration_since(self.not_before), self.not_after.duration_since(self.not_before));
        if elapsed.as_secs() * 3 < total.as_secs() * 2 {
            return 0;
        }
        let left = self.not_after.duration_since(now);
        WARN_BEFORE.iter().filter(|before| left <= **before).count()
    }

    /// Whether the period is over.
    pub(super) fn is_expired(self, now: Timestamp) -> bool {
        now > self.not_after
    }
}

const fn days(days: i64) -> SignedDuration {
    SignedDuration::from_hours(24 * days)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3600;
    const DAY: i64 = 24 * HOUR;

    #[track_caller]
    fn check(lifetime: i64, left: i64, expected: usize) {
        let at = |second| Timestamp::from_second(second).expect("in range");
        let validity = Validity { not_before: at(0), not_after: at(lifetime) };
        assert_eq!(validity.due_warnings(at(lifetime - left)), expected, "{lifetime} {left}");
    }

    #[test]
    fn warnings_are_due_a_month_a_week_and_a_day_before_expiry_and_at_expiry() {
        let year = 365 * DAY;
        check(year, year, 0);
        check(year, 30 * DAY + 1, 0);
        check(year, 30 * DAY, 1);
        check(year, 7 * DAY + 1, 1);
        check(year, 7 * DAY, 2);
        check(year, DAY + 1, 2);
        check(year, DAY, 3);
        check(year, 1, 3);
        check(year, 0, 4);
        check(year, -DAY, 4);
    }

    #[test]
    fn short_lived_certificates_cause_no_warnings_in_the_first_two_thirds() {
        check(30 * DAY, 30 * DAY, 0);
        check(30 * DAY, 10 * DAY + 10, 0);
        check(30 * DAY, 10 * DAY, 1);
        check(DAY, DAY, 0);
        check(DAY, 9 * HOUR, 0);
        check(DAY, 8 * HOUR, 3);
        check(DAY, 0, 4);
    }

    #[test]
    fn several_certificates_are_valid_while_each_of_them_is() {
        let at = |second| Timestamp::from_second(second).expect("in range");
        let validity = |from, to| Validity { not_before: at(from), not_after: at(to) };
        assert_eq!(validity(0, 5).and(validity(2, 9)), validity(2, 5));
        assert_eq!(validity(2, 9).and(validity(0, 5)), validity(2, 5));
        assert!(!validity(0, 5).is_expired(at(5)));
        assert!(validity(0, 5).is_expired(at(6)));
    }
}
