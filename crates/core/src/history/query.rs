//! Which entries of the history are asked for.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::entry::{Entry, What};
use crate::kind::Kind;

/// A filter of entries. What is empty or `None` lets all pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only this namespace.
    pub namespace: Option<String>,
    /// Only workloads of this name.
    pub name: Option<String>,
    /// Only workloads of this kind.
    pub kind: Option<Kind>,
    /// Only what happened at this time or later.
    pub since: Option<Timestamp>,
    /// Only what happened before this time.
    pub until: Option<Timestamp>,
    /// Only these events.
    pub whats: BTreeSet<What>,
}

impl Filter {
    /// Whether an entry passes.
    pub fn matches(&self, entry: &Entry) -> bool {
        let target = &entry.target;
        self.namespace.as_deref().is_none_or(|namespace| namespace == target.namespace())
            && self.name.as_deref().is_none_or(|name| name == target.name())
            && self.kind.is_none_or(|kind| kind == target.kind())
            && self.since.is_none_or(|since| since <= entry.at)
            && self.until.is_none_or(|until| entry.at < until)
            && (self.whats.is_empty() || self.whats.contains(&entry.what))
    }
}
