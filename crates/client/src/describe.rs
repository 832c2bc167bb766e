//! Error messages for people: one line with all causes.

use std::error::Error;

use tonic::Status;

/// Describes why a call failed. `call` is its name, such as "ListDeployments".
///
/// The server puts the reason into the message of a status. The transport also creates statuses, with the reason in
/// their sources.
pub fn describe(call: &str, status: &Status) -> String {
    match status.source() {
        None => format!("{call} failed: {:?}: {}", status.code(), status.message()),
        Some(source) => format!("{call} failed: {}", chain(source)),
    }
}

/// An error and its causes. A cause is left out if the message before it ends with it.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut messages: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        next = error.source();
        let text = error.to_string();
        if messages.last().is_none_or(|last| !last.ends_with(&text)) {
            messages.push(text);
        }
    }
    messages.join(": ")
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
        let from_server = Status::not_found("there is no web");
        assert_eq!(
            describe("GetDeployment", &from_server),
            "GetDeployment failed: NotFound: there is no web"
        );
        let mut from_transport = Status::unavailable("");
        from_transport.set_source(Arc::new(failure()));
        assert_eq!(
            describe("GetDeployment", &from_transport),
            "GetDeployment failed: transport error: tcp: refused"
        );
    }
}
