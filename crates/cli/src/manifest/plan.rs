//! What must be done so that the server has what the files say.

use std::collections::HashMap;

use jiff::Timestamp;
use replica_count_api::proto::{GetDeploymentResponse, Kind};

use super::entry::{Enforcement, Entry, Place};
use super::setting::Setting;
use crate::target::Target;

/// One call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Store a count, which holds until a time if there is one.
    Set {
        /// The count.
        count: i32,
        /// When it ends.
        until: Option<Timestamp>,
    },
    /// Forget the count.
    Delete,
    /// Repair drift, or not.
    Enforce(Enforcement),
}

/// What is done to one workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Where the file says it. `None`: no file has it, so it is deleted.
    pub place: Option<Place>,
    /// The namespace.
    pub namespace: String,
    /// The workload.
    pub target: Target,
    /// The setting before.
    pub before: Option<Setting>,
    /// The setting afterwards.
    pub after: Option<Setting>,
    /// The calls, in order. None: it is as the file says.
    pub steps: Vec<Step>,
}

/// All changes, in the order of the files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The changes; those that need nothing are here, too.
    pub changes: Vec<Change>,
}

impl Plan {
    /// Compares the files with what the server has. `prune`: what the server has and no file is deleted.
    pub fn new(
        entries: Vec<Entry>,
        current: &[GetDeploymentResponse],
        prune: impl Fn(&GetDeploymentResponse) -> bool,
        now: Timestamp,
    ) -> Self {
        let managed = current.iter().filter(|row| row.desired_replicas.is_some());
        let mut rows: HashMap<_, _> =
            managed.map(|row| (key(&row.namespace, row.kind(), &row.name), row)).collect();
        let mut changes: Vec<_> = entries
            .into_iter()
            .map(|entry| {
                let row = rows.remove(&key(&entry.namespace, entry.target.kind, &entry.target.name));
                change(entry, row, now)
            })
            .collect();
        let mut pruned: Vec<_> =
            rows.into_values().filter(|row| row.other_kind.is_empty() && prune(row)).map(pruned).collect();
        pruned.sort_by(|a, b| (&a.namespace, &a.target.name).cmp(&(&b.namespace, &b.target.name)));
        changes.extend(pruned);
        Self { changes }
    }

    /// Those that need a call.
    pub fn needed(&self) -> impl Iterator<Item = &Change> {
        self.changes.iter().filter(|change| !change.steps.is_empty())
    }
}

impl Change {
    /// What becomes of it, as kubectl says it.
    pub fn outcome(&self) -> &'static str {
        match (&self.place, &self.before, self.steps.is_empty()) {
            (None, ..) => "pruned",
            (Some(_), _, true) => "unchanged",
            (Some(_), None, false) => "created",
            (Some(_), Some(_), false) => "configured",
        }
    }
}

fn key(namespace: &str, kind: Kind, name: &str) -> (String, Kind, String) {
    (namespace.to_owned(), kind, name.to_owned())
}

fn pruned(row: &GetDeploymentResponse) -> Change {
    Change {
        place: None,
        namespace: row.namespace.clone(),
        target: Target { kind: row.kind(), name: row.name.clone() },
        before: Some(Setting::of_answer(row)),
        after: None,
        steps: vec![Step::Delete],
    }
}

fn change(entry: Entry, row: Option<&GetDeploymentResponse>, now: Timestamp) -> Change {
    let mut wanted = Setting::of_entry(&entry, now);
    let current = row.map(Setting::of_answer);
    let other_reason =
        entry.reason.is_some() && current.as_ref().is_some_and(|current| current.reason != wanted.reason);
    let steps = steps(&wanted, current.as_ref(), other_reason);
    // Only a Set changes the reason.
    if let Some(current) = &current
        && !steps.iter().any(|step| matches!(step, Step::Set { .. }))
    {
        wanted.reason.clone_from(&current.reason);
    }
    Change {
        place: Some(entry.place),
        namespace: entry.namespace,
        target: entry.target,
        before: current,
        after: wanted.count().is_some().then_some(wanted),
        steps,
    }
}

/// The calls that make the current setting the wanted one.
fn steps(wanted: &Setting, current: Option<&Setting>, other_reason: bool) -> Vec<Step> {
    let mut steps = Vec::new();
    if wanted.count().is_none() {
        // A temporary count that has ended, with nothing after it.
        return steps;
    }
    let lasting = current.and_then(|current| current.lasting);
    let temporary = current.and_then(|current| current.temporary);
    let ends_temporary = temporary.is_some() && wanted.temporary.is_none();
    let is_other = wanted.lasting != lasting || ends_temporary;
    let mut enforcement = current.map_or(Enforcement::Enforce, |current| current.enforcement);
    match wanted.lasting {
        Some(count) if is_other || (other_reason && wanted.temporary.is_none()) => {
            steps.push(Step::Set { count, until: None });
        }
        None if lasting.is_some() => {
            steps.push(Step::Delete);
            enforcement = Enforcement::Enforce;
        }
        Some(_) | None => {}
    }
    if let Some((count, until)) = wanted.temporary
        && (!steps.is_empty() || wanted.temporary != temporary || other_reason)
    {
        steps.push(Step::Set { count, until: Some(until) });
    }
    if wanted.enforcement != enforcement {
        steps.push(Step::Enforce(wanted.enforcement));
    }
    steps
}
