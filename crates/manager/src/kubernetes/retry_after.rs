//! How long an API server asks to wait.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, header};

/// The longest wish that is fulfilled. API servers ask for a second; what asks for more is broken or a proxy's idea of a
/// pause, and nothing may be parked for good.
const LONGEST: Duration = Duration::from_mins(5);

/// What the headers of an answer say. Of the two forms that HTTP knows, that in seconds.
pub(super) fn of(headers: &HeaderMap<HeaderValue>) -> Option<Duration> {
    headers.get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok().map(of_seconds)
}

/// So many seconds, in reason.
pub(super) fn of_seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(said: &str, expected: Option<Duration>) {
        let value = HeaderValue::from_str(said).expect("valid");
        assert_eq!(of(&HeaderMap::from_iter([(header::RETRY_AFTER, value)])), expected, "{said}");
    }

    #[test]
    fn no_wish_parks_anything_for_good() {
        check("7", Some(Duration::from_secs(7)));
        check("0", Some(Duration::ZERO));
        check("31536000", Some(LONGEST));
        check(&u64::MAX.to_string(), Some(LONGEST));
        check("99999999999999999999", None);
        check("-1", None);
        check("Fri, 31 Dec 1999 23:59:59 GMT", None);
        assert_eq!(of(&HeaderMap::new()), None);
    }
}
