//! When certificates end, and how early people are told.

use jiff::{SignedDuration, Timestamp};

/// How long before the end people are warned, the earliest first. The last warning comes at the end itself.
const NOTICES: [SignedDuration; 4] = [days(30), days(7), days(1), days(0)];

/// The time of one certificate, or the time that several have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) not_before: Timestamp,
    pub(super) not_after: Timestamp,
}

impl Validity {
    /// The time that both have in common.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            not_before: self.not_before.max(other.not_before),
            not_after: self.not_after.min(other.not_after),
        }
    }

    /// How many warnings are due.
    ///
    /// None before two thirds of the time have passed: until then, those who renew certificates of a few days or hours
    /// by themselves have nothing to do.
    pub(super) fn notices(self, now: Timestamp) -> usize {
        let (passed, all) =
            (now.duration_since(self.not_before), self.not_after.duration_since(self.not_before));
        if passed.as_secs() * 3 < all.as_secs() * 2 {
            return 0;
        }
        let left = self.not_after.duration_since(now);
        NOTICES.iter().filter(|notice| left <= **notice).count()
    }

    /// Whether it is over.
    pub(super) fn is_over(self, now: Timestamp) -> bool {
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
        assert_eq!(validity.notices(at(lifetime - left)), expected, "{lifetime} {left}");
    }

    #[test]
    fn warnings_come_a_month_a_week_and_a_day_before_the_end_and_at_it() {
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
    fn short_lived_certificates_are_left_in_peace_until_two_thirds_are_over() {
        check(30 * DAY, 30 * DAY, 0);
        check(30 * DAY, 10 * DAY + 10, 0);
        check(30 * DAY, 10 * DAY, 1);
        check(DAY, DAY, 0);
        check(DAY, 9 * HOUR, 0);
        check(DAY, 8 * HOUR, 3);
        check(DAY, 0, 4);
    }

    #[test]
    fn several_certificates_are_valid_while_all_of_them_are() {
        let at = |second| Timestamp::from_second(second).expect("in range");
        let validity = |from, to| Validity { not_before: at(from), not_after: at(to) };
        assert_eq!(validity(0, 5).and(validity(2, 9)), validity(2, 5));
        assert_eq!(validity(2, 9).and(validity(0, 5)), validity(2, 5));
        assert!(!validity(0, 5).is_over(at(5)));
        assert!(validity(0, 5).is_over(at(6)));
    }
}
