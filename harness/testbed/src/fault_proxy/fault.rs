//! The faults of requests.

use serde::{Deserialize, Serialize};

use super::Kind;

/// The fault of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The request arrives late.
    Delay {
        /// The delay.
        ms: u64,
    },
    /// The request never arrives, and its connection stays open.
    Freeze,
    /// The request never arrives, and its connection is closed.
    Cut,
    /// The proxy refuses it.
    Refuse {
        /// The status.
        status: u16,
        /// The `Retry-After` header.
        retry_after_seconds: Option<u64>,
    },
    /// It is executed, the answer never arrives, and the connection is closed.
    LoseAnswer,
    /// It is executed, the answer never arrives, and the connection stays open.
    FreezeAnswer,
    /// It is executed, and the connection is closed in the middle of the answer.
    CutAnswer,
    /// A listing is answered with the first listing from the API server.
    StaleList,
    /// The stream of the answer has a fault.
    Stream(StreamFault),
    /// The server is killed after it has sent the request and before the request arrives.
    CrashBefore,
    /// The server is killed after the request is executed and before it is answered.
    CrashAfter,
}

/// The fault of a stream of events. Events are counted from 0, including bookmarks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StreamFault {
    /// The connection is closed in the middle of this event.
    Cut {
        /// The index of the event.
        at: usize,
    },
    /// This event and all later ones are withheld, and the connection stays open.
    Freeze {
        /// The index of the event.
        at: usize,
    },
    /// An error replaces this event: the version is gone.
    Gone {
        /// The index of the event.
        at: usize,
    },
    /// The stream ends normally before this event.
    End {
        /// The index of the event.
        at: usize,
    },
    /// Each event is delayed.
    Lag {
        /// The delay.
        ms: u64,
    },
    /// Each event is sent twice.
    Duplicate,
    /// The connection is closed after this event, and the next watch repeats the latest events.
    Replay {
        /// The index of the event.
        at: usize,
    },
    /// Events that change a count and change it back are suppressed.
    Swallow,
}

impl Fault {
    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Delay { .. } => "delay",
            Self::Freeze => "freeze",
            Self::Cut => "cut",
            Self::Refuse { status: 409, .. } => "refuse 409",
            Self::Refuse { status: 410, .. } => "refuse 410",
            Self::Refuse { status: 422, .. } => "refuse 422",
            Self::Refuse { status: 429, .. } => "refuse 429",
            Self::Refuse { status: 500, .. } => "refuse 500",
            Self::Refuse { status: 503, .. } => "refuse 503",
            Self::Refuse { .. } => "refuse",
            Self::LoseAnswer => "lose the answer",
            Self::FreezeAnswer => "freeze the answer",
            Self::CutAnswer => "cut the answer",
            Self::StaleList => "stale list",
            Self::Stream(fault) => fault.name(),
            Self::CrashBefore => "crash before",
            Self::CrashAfter => "crash after",
        }
    }

    /// Every fault for requests of this kind, except crashes. `pick` chooses a number below its argument.
    pub fn all(kind: Kind, mut pick: impl FnMut(u64) -> u64) -> Vec<Self> {
        let refuse = |status| Self::Refuse { status, retry_after_seconds: None };
        let throttle = |status, seconds| Self::Refuse { status, retry_after_seconds: Some(seconds) };
        let mut faults = vec![
            Self::Delay { ms: 20 + pick(2_000) },
            Self::Freeze,
            Self::Cut,
            Self::LoseAnswer,
            Self::FreezeAnswer,
            Self::CutAnswer,
            throttle(429, 1 + pick(3)),
            refuse(500),
            throttle(503, 1),
            refuse(503),
        ];
        match kind {
            Kind::Patch => faults.extend([409, 422].map(refuse)),
            Kind::List => faults.push(Self::StaleList),
            Kind::ListAsStream => faults.extend([Self::StaleList, refuse(422)]),
            Kind::Watch => faults.push(refuse(410)),
            Kind::Get | Kind::Other => {}
        }
        if kind.is_stream() {
            let mut at = || usize::try_from(pick(4)).unwrap_or_default();
            let streams = [
                StreamFault::Cut { at: at() },
                StreamFault::Freeze { at: at() },
                StreamFault::Gone { at: at() },
                StreamFault::End { at: at() },
                StreamFault::Replay { at: at() },
                StreamFault::Lag { ms: 1 + pick(300) },
                StreamFault::Duplicate,
            ];
            faults.extend(streams.map(Self::Stream));
        }
        // A listing has one event per object, so no two cancel out.
        if kind == Kind::Watch {
            faults.push(Self::Stream(StreamFault::Swallow));
        }
        faults
    }
}

impl StreamFault {
    fn name(self) -> &'static str {
        match self {
            Self::Cut { .. } => "cut in an event",
            Self::Freeze { .. } => "freeze the stream",
            Self::Gone { .. } => "gone in the stream",
            Self::End { .. } => "end early",
            Self::Lag { .. } => "lag",
            Self::Duplicate => "duplicate",
            Self::Replay { .. } => "replay after reconnect",
            Self::Swallow => "swallow what cancels out",
        }
    }
}
