//! The `Retry-After` of an API server.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, header};

/// The longest wait that is honoured. API servers ask for a second; longer waits come from broken servers or from
/// proxies, and must not suspend anything indefinitely.
const MAX: Duration = Duration::from_mins(5);

/// Reads the header of an answer. Of the two forms in HTTP, only seconds are supported.
pub(super) fn of(headers: &HeaderMap<HeaderValue>) -> Option<Duration> {
    headers.get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok().map(of_seconds)
}

/// So many seconds, up to the maximum.
pub(super) fn of_seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds).min(MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: &str, expected: Option<Duration>) {
        let header = HeaderValue::from_str(value).expect("valid");
        assert_eq!(of(&HeaderMap::from_iter([(header::RETRY_AFTER, header)])), expected, "{value}");
    }

    #[test]
    fn waits_are_capped() {
        check("7", Some(Duration::from_secs(7)));
        check("0", Some(Duration::ZERO));
        check("31536000", Some(MAX));
        check(&u64::MAX.to_string(), Some(MAX));
        check("99999999999999999999", None);
        check("-1", None);
        check("Fri, 31 Dec 1999 23:59:59 GMT", None);
        assert_eq!(of(&HeaderMap::new()), None);
    }
}
