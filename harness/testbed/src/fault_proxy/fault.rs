//! What can happen to a request.

use serde::{Deserialize, Serialize};

use super::Kind;

/// What happens to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// It arrives late.
    Delay {
        /// By how much.
        ms: u64,
    },
    /// It never arrives, and its connection stays open.
    Freeze,
    /// It never arrives, and its connection is closed.
    Cut,
    /// It is refused on its way.
    Refuse {
        /// The status.
        status: u16,
        /// The `Retry-After` header.
        retry_after_seconds: Option<u64>,
    },
    /// It is carried out, the answer never arrives, and the connection is closed.
    LoseAnswer,
    /// It is carried out, the answer never arrives, and the connection stays open.
    FreezeAnswer,
    /// It is carried out, and the connection is closed in the middle of the answer.
    CutAnswer,
    /// A listing is answered with the oldest listing that the API server gave.
    StaleList,
    /// The stream that answers it breaks.
    Stream(StreamFault),
    /// The server dies after it has sent it and before it arrives.
    CrashBefore,
    /// The server dies when it is carried out and not answered.
    CrashAfter,
}

/// What happens to a stream of events. Events are counted from 0, bookmarks included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StreamFault {
    /// The connection is closed in the middle of this event.
    Cut {
        /// Which event.
        at: usize,
    },
    /// Nothing comes from this event on, and the connection stays open.
    Freeze {
        /// Which event.
        at: usize,
    },
    /// Instead of this event comes the error that the version is gone.
    Gone {
        /// Which event.
        at: usize,
    },
    /// The stream ends in good order before this event.
    End {
        /// Which event.
        at: usize,
    },
    /// Each event comes late.
    Lag {
        /// By how much.
        ms: u64,
    },
    /// Each event comes twice.
    Duplicate,
    /// The connection is closed after this event, and the next watch begins with events that were shown already.
    Replay {
        /// Which event.
        at: usize,
    },
    /// Events of an object after which it has the count that was shown before are not shown.
    Swallow,
}

impl Fault {
    /// The word for it in tables.
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

    /// Every fault that a request of this kind can meet, crashes apart. `pick` chooses numbers below its argument.
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
        // A listing shows each object once: nothing cancels out.
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
