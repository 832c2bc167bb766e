//! What the proxy tells of a request, as it happens.

use serde::{Deserialize, Serialize};

use super::{Fault, Kind};

/// Something that happened to a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Which request, from 0 on.
    pub ordinal: u64,
    /// What happened.
    #[serde(flatten)]
    pub note: Note,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Note {
    /// It came from the server.
    Request {
        /// Its kind.
        kind: Kind,
        /// Its method.
        method: String,
        /// Its path and query.
        uri: String,
        /// Its body, if it is JSON.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        body: Option<serde_json::Value>,
        /// What it is to meet.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fault: Option<Fault>,
    },
    /// Its fault happened: one of a stream that ended before, or of a listing that is the first, does not.
    Met,
    /// The API server carried it out.
    Served {
        /// The status.
        status: u16,
        /// In which encoding it answered.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        content_type: Option<String>,
    },
    /// The server got an answer, or the beginning of one.
    Answered {
        /// The status.
        status: u16,
    },
    /// The server was shown an event.
    Shown {
        /// Which, in short.
        event: String,
    },
    /// An event was kept from the server.
    Hidden {
        /// Which, in short.
        event: String,
    },
}
