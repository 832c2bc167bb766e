//! Errors as people read them: in one line, with their causes.

use std::error::Error;

use tonic::Status;

/// Why a call failed. `what` is the call, as in "ListDeployments".
///
/// The server puts the reason into the message of a status. The transport makes statuses too, and puts the reason into
/// their sources.
pub fn describe(what: &str, status: &Status) -> String {
    match status.source() {
        None => format!("{what} failed: {:?}: {}", status.code(), status.message()),
        Some(source) => format!("{what} failed: {}", chain(source)),
    }
}

/// An error and what caused it. A cause that the error before it repeats at its end is left out.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        next = error.source();
        let text = error.to_string();
        if words.last().is_none_or(|last| !last.ends_with(&text)) {
            words.push(text);
        }
    }
    words.join(": ")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Failure {
        text: &'static str,
        source: Option<Box<Failure>>,
    }

    fn failure() -> Failure {
        let cause = Failure { text: "refused", source: None };
        let repeats = Failure { text: "tcp: refused", source: Some(Box::new(cause)) };
        Failure { text: "transport error", source: Some(Box::new(repeats)) }
    }

    #[test]
    fn causes_are_named_once() {
        assert_eq!(chain(&failure()), "transport error: tcp: refused");
    }

    #[test]
    fn a_status_is_described_by_its_message_or_its_sources() {
        let said = Status::not_found("there is no web");
        assert_eq!(describe("GetDeployment", &said), "GetDeployment failed: NotFound: there is no web");
        let mut made = Status::unavailable("");
        made.set_source(Arc::new(failure()));
        assert_eq!(describe("GetDeployment", &made), "GetDeployment failed: transport error: tcp: refused");
    }
}
