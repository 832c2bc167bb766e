//! The errors of an API server, in both encodings.

use hyper::body::Bytes;
use replica_count_wire::{Encoding, Envelope, Event, messages};
use serde_json::{Value, json};

/// The status for a version that is gone.
pub(super) const GONE: u16 = 410;

/// The message of an API server for a JSON Patch with a failed test.
const FAILED_TEST: &str = "the server rejected our request due to an error in our request";

/// The error of a request.
pub(super) struct Status {
    code: u16,
    reason: &'static str,
    message: &'static str,
}

impl Status {
    /// The usual error for a code.
    pub(super) fn of(code: u16) -> Self {
        let (reason, message) = match code {
            409 => {
                ("Conflict", "the object has been modified; please apply your changes to the latest version")
            }
            GONE => ("Expired", "too old resource version"),
            422 => ("Invalid", FAILED_TEST),
            429 => ("TooManyRequests", "Too many requests, please try again later."),
            503 => ("ServiceUnavailable", "the server is currently unable to handle the request"),
            _ => ("InternalError", "Internal error occurred"),
        };
        Self { code, reason, message }
    }

    /// As the body of an answer.
    pub(super) fn answer(&self, encoding: Encoding) -> Bytes {
        match encoding {
            Encoding::Json => self.json().to_string().into(),
            Encoding::Protobuf => self.envelope().seal(),
        }
    }

    /// As a watch event, without framing.
    pub(super) fn event(&self, encoding: Encoding) -> Bytes {
        match encoding {
            Encoding::Json => json!({ "type": "ERROR", "object": self.json() }).to_string().into(),
            Encoding::Protobuf => Event { r#type: "ERROR".to_owned(), object: self.envelope() }.write(),
        }
    }

    fn json(&self) -> Value {
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": self.message,
            "reason": self.reason, "code": self.code,
        })
    }

    fn envelope(&self) -> Envelope {
        let status = messages::Status {
            message: self.message.to_owned().into(),
            reason: self.reason.to_owned(),
            code: i32::from(self.code),
        };
        Envelope::new("v1", "Status", &status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_the_same_in_both_encodings() {
        let status = Status::of(GONE);
        let json: Value = serde_json::from_slice(&status.event(Encoding::Json)).unwrap();
        let Event { r#type, object } = Event::read(status.event(Encoding::Protobuf)).unwrap();
        let messages::Status { message, reason, code } = object.object().unwrap();
        assert_eq!((json["type"].as_str(), object.kind()), (Some("ERROR"), "Status"));
        assert_eq!(r#type, "ERROR");
        assert_eq!(json["object"]["code"], code);
        assert_eq!(json["object"]["message"].as_str().map(str::as_bytes), Some(&*message));
        assert_eq!(json["object"]["reason"], *reason);
        assert_eq!(Envelope::open(status.answer(Encoding::Protobuf)), Ok(object));
    }
}
