//! The reason why the state of a target is unknown.

use std::fmt;

use replica_count_core::kind::Kind;

use crate::cluster::Freshness;

/// Why the state of workloads of a kind is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unknown {
    /// The first listing is not complete.
    Unread,
    /// The API server refuses to show them.
    Refused(Kind),
}

impl Unknown {
    /// `None`: the state is known.
    pub(super) fn of(kind: Kind, freshness: Freshness) -> Option<Self> {
        match freshness {
            Freshness::Unread => Some(Self::Unread),
            Freshness::Refused => Some(Self::Refused(kind)),
            Freshness::Live | Freshness::Stale { .. } => None,
        }
    }
}

impl fmt::Display for Unknown {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unread => formatter.write_str("the cluster has not been read yet"),
            Self::Refused(kind) => write!(
                formatter,
                "the API server refuses to show {kind}s to this server; \
                 grant it get, list and watch of {resource}.{group} and patch of {resource}.{group}/scale",
                resource = kind.resource(),
                group = kind.group(),
            ),
        }
    }
}
