//! Which events a route takes.

use std::collections::BTreeSet;

use crate::history::entry::{Entry, What};
use crate::kind::Kind;
use crate::target::Target;
use crate::words::{Severity, severity};

/// Which events a route takes. What is empty lets all pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteFilter {
    /// Namespaces; one that ends with `*` is all that begin like it.
    pub namespaces: Vec<String>,
    /// Kinds of workloads.
    pub kinds: BTreeSet<Kind>,
    /// Kinds of events.
    pub whats: BTreeSet<What>,
    /// What is less serious does not pass.
    pub severity: Severity,
}

impl RouteFilter {
    /// Whether an event passes.
    pub fn matches(&self, entry: &Entry) -> bool {
        self.covers(&entry.target) && self.takes(entry.what, severity(entry))
    }

    /// Whether events of a workload may pass.
    pub fn covers(&self, target: &Target) -> bool {
        let namespace = target.namespace();
        let is_namespace = |pattern: &String| match pattern.strip_suffix('*') {
            Some(prefix) => namespace.starts_with(prefix),
            None => namespace == pattern,
        };
        (self.namespaces.is_empty() || self.namespaces.iter().any(is_namespace))
            && (self.kinds.is_empty() || self.kinds.contains(&target.kind()))
    }

    /// Whether events of a kind may pass that are this serious.
    pub fn takes(&self, what: What, severity: Severity) -> bool {
        (self.whats.is_empty() || self.whats.contains(&what)) && severity >= self.severity
    }
}
