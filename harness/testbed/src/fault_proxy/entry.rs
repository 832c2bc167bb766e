//! What the proxy records about requests.

use serde::{Deserialize, Serialize};

use super::{Fault, Kind};

/// Something that happened to a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The ordinal of the request, from 0.
    pub ordinal: u64,
    /// What happened.
    #[serde(flatten)]
    pub note: Note,
}

/// An event in the life of a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Note {
    /// The server sent it.
    Request {
        /// Its kind.
        kind: Kind,
        /// Its method.
        method: String,
        /// Its path and query.
        uri: String,
        /// Its body, if it is JSON, or a Scale in protobuf, as JSON.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        body: Option<serde_json::Value>,
        /// The fault planned for it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fault: Option<Fault>,
    },
    /// Its fault was injected. Missing if its stream ended before the fault, or if there was no older listing.
    #[serde(rename = "met")]
    Injected,
    /// The API server executed it.
    Served {
        /// The status.
        status: u16,
        /// The encoding of the answer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        content_type: Option<String>,
    },
    /// The server received an answer, or the beginning of one.
    Answered {
        /// The status.
        status: u16,
    },
    /// An event was forwarded to the server.
    Shown {
        /// A summary of the event.
        event: String,
    },
    /// An event was suppressed.
    Hidden {
        /// A summary of the event.
        event: String,
    },
}
