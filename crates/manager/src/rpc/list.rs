//! ListDeployments: settings and observed workloads, merged in the order of targets.

use std::collections::BTreeSet;
use std::iter::{self, Peekable};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use replica_count_api::request::ListRequest;
use replica_count_api::response::LastFailure;
use replica_count_api::{proto, response};
use replica_count_core::conflict::ConflictState;
use replica_count_core::entry_target::EntryTarget;
use replica_count_core::kind::{ByKind, Kind};
use replica_count_core::observed::{Observation, Observed};
use replica_count_core::record::Record;
use replica_count_core::replicas::Replicas;
use replica_count_core::setting::{Hold, Setting};
use replica_count_core::state::State;
use replica_count_core::steady::SteadyConflict;
use replica_count_core::stored::Unsupported;
use replica_count_core::target::Target;
use tokio::time::Instant;

use super::context::Context;
use super::in_flight::InFlight;
use super::state_reason::StateReason;
use super::status::Refusal;
use super::unknown::Unknown;
use crate::clock;
use crate::cluster::{View, Watched};

/// How much memory is reserved at a time for an answer, in bytes.
const RESERVED_AT_ONCE: usize = 16 * 1024;

/// Creates the answer, for which memory is reserved on `in_flight` before each part of the work.
pub(super) fn list(
    context: &Context,
    request: &ListRequest,
    in_flight: Option<&InFlight>,
) -> Result<proto::DeploymentsReplicaConfigs, Refusal> {
    context.check_read()?;
    if request.include_unmanaged {
        for kind in &request.kinds {
            context.policy.scope.check_watched(request.namespace.as_deref(), *kind)?;
        }
    }
    let now = clock::now();
    let (rows, next, age) = context.store.read_all(|stored| {
        let (view, records) = (context.cluster.view(), context.records.view());
        let unknown = ByKind::of(|kind| Unknown::of(kind, view.freshness(Watched::Workloads(kind))));
        if request.include_unmanaged
            && let Some(unknown) = request.kinds.iter().find_map(|kind| unknown[*kind])
        {
            return Err(Refusal::Unknown(unknown));
        }
        let after_known = request.after.as_ref().map(EntryTarget::last_known);
        let after = excluded(after_known.as_ref());
        let (mut observation_of, mut record_of) = (view.observations(), records.ordered_lookup());
        let settings = stored.settings.range::<Target, _>((after, Bound::Unbounded)).peekable();
        let observed = request.include_unmanaged.then(|| view.index().range(after)).into_iter().flatten();
        let supported = Rows { stored: settings, observed: observed.peekable() }
            .filter(|(target, _, _)| request.matches(target))
            .filter(|(target, _, _)| stored.unsupported(target).is_none())
            .filter_map(|(target, setting, seen)| {
                let setting = setting.and_then(|setting| setting.at(now.wall));
                // A temporary count that was the only one has ended.
                let is_shown = setting.is_some() || seen.is_some();
                is_shown.then_some((target, setting, seen))
            })
            .map(|(target, setting, seen)| {
                let setting = setting.as_deref();
                let observation = seen.map_or_else(|| observation_of(target), Observation::Present);
                let record = record_of(target);
                let conflict = record.map_or(ConflictState::None, Record::conflict_state);
                let is_suspended = context.guards.is_suspended(target.namespace());
                let policy = &context.policy;
                let state = State::of(target, setting, observation, conflict, policy, is_suspended, now.wall);
                let failure = record.and_then(|record| LastFailure::of(record, now));
                let reason = StateReason::of(state, target, unknown[target.kind()], &context.policy);
                let steady_conflict = record.and_then(|record| record.steady_conflict(now.monotonic));
                Row { failure, steady_conflict, ..Row::new(target, setting, observation, state, reason) }
            });
        let unsupported = stored
            .unsupported
            .range::<EntryTarget, _>((excluded(request.after.as_ref()), Bound::Unbounded))
            .filter(|(target, _)| request.matches_entry(target))
            .map(|(target, entry)| Row::of_unsupported(target, entry, &view));
        let mut reservation = Reservation::begin(in_flight)?;
        let rows = merge(supported, unsupported);
        let (rows, next) = page(rows, request.page_size, |row| reservation.add(row.bytes()))?;
        Ok((rows, next, age(&view, &request.kinds, Instant::from_std(now.monotonic))))
    })?;
    // Only now, without the locks: creating strings takes much longer than creating rows.
    Ok(proto::DeploymentsReplicaConfigs {
        deployments_replica_config: rows.into_iter().map(Into::into).collect(),
        next_page_token: next.as_ref().map(response::page_token).unwrap_or_default(),
        observed_age: age.map(response::duration),
    })
}

fn excluded<T>(after: Option<&T>) -> Bound<&T> {
    after.map_or(Bound::Unbounded, Bound::Excluded)
}

/// Merges rows in the order of targets.
fn merge(one: impl Iterator<Item = Row>, other: impl Iterator<Item = Row>) -> impl Iterator<Item = Row> {
    let (mut one, mut other) = (one.peekable(), other.peekable());
    iter::from_fn(move || match (one.peek(), other.peek()) {
        (Some(next), Some(next_other)) if next_other.target < next.target => other.next(),
        (Some(_), _) => one.next(),
        (None, _) => other.next(),
    })
}

/// The age of the oldest observed values, while a watch is broken.
fn age(view: &View<'_>, kinds: &BTreeSet<Kind>, now: Instant) -> Option<Duration> {
    kinds.iter().filter_map(|kind| view.freshness(Watched::Workloads(*kind)).stale_for(now)).max()
}

/// Takes one page of rows, each after `reserve`, and its last target if more rows follow.
fn page(
    mut rows: impl Iterator<Item = Row>,
    size: Option<usize>,
    mut reserve: impl FnMut(&Row) -> Result<(), Refusal>,
) -> Result<(Vec<Row>, Option<EntryTarget>), Refusal> {
    let mut page = Vec::new();
    for row in rows.by_ref().take(size.unwrap_or(usize::MAX)) {
        reserve(&row)?;
        page.push(row);
    }
    let last = page.last().map(|row| row.target.clone()).filter(|_| rows.next().is_some());
    Ok((page, last))
}

/// Memory for an answer, reserved as the answer grows: a user who has no more of it causes no more work.
struct Reservation<'a> {
    in_flight: Option<&'a InFlight>,
    /// Bytes that are reserved and not needed yet.
    left: usize,
}

impl<'a> Reservation<'a> {
    fn begin(in_flight: Option<&'a InFlight>) -> Result<Self, Refusal> {
        let mut this = Self { in_flight, left: 0 };
        this.add(0)?;
        Ok(this)
    }

    fn add(&mut self, bytes: usize) -> Result<(), Refusal> {
        while self.left <= bytes {
            if let Some(in_flight) = self.in_flight {
                in_flight.reserve(RESERVED_AT_ONCE)?;
            }
            self.left += RESERVED_AT_ONCE;
        }
        self.left -= bytes;
        Ok(())
    }
}

/// A row of the answer, created without copying strings.
struct Row {
    target: EntryTarget,
    desired: Option<Replicas>,
    hold: Option<Hold>,
    current: Option<Replicas>,
    ready: Option<i32>,
    state: State,
    reason: Option<StateReason>,
    failure: Option<LastFailure>,
    steady_conflict: Option<SteadyConflict>,
}

impl Row {
    fn new(
        target: &Target,
        setting: Option<&Setting>,
        observation: Observation<'_>,
        state: State,
        reason: Option<StateReason>,
    ) -> Self {
        let observed = observation.present();
        Self {
            target: target.clone().into(),
            desired: setting.map(|setting| setting.replicas),
            hold: setting.and_then(|setting| setting.hold),
            current: observed.map(|observed| observed.replicas),
            ready: observed.map(|observed| observed.ready),
            state,
            reason,
            failure: None,
            steady_conflict: None,
        }
    }

    /// The row of an entry that this version does not support.
    fn of_unsupported(target: &EntryTarget, entry: &Unsupported, view: &View<'_>) -> Self {
        let observed = target.known().and_then(|target| view.observation(target).present());
        Self {
            target: target.clone(),
            desired: None,
            hold: None,
            current: observed.map(|observed| observed.replicas),
            ready: observed.map(|observed| observed.ready),
            state: State::Unsupported,
            reason: Some(StateReason::of_unsupported(entry)),
            failure: None,
            steady_conflict: None,
        }
    }

    /// About how many bytes it takes in the answer, both as a message and encoded.
    fn bytes(&self) -> usize {
        let reason = self.reason.as_ref().map_or(0, StateReason::len);
        let message = self.failure.as_ref().map_or(0, LastFailure::message_len);
        let opponent = self.steady_conflict.as_ref().map_or(0, SteadyConflict::names_len);
        let strings = self.target.name().len() + self.target.namespace().len() + reason + message + opponent;
        2 * (size_of::<proto::DeploymentsReplicaConfig>() + strings)
    }
}

impl From<Row> for proto::DeploymentsReplicaConfig {
    fn from(row: Row) -> Self {
        let (kind, other_kind) = response::kind(&row.target);
        Self {
            name: row.target.name().to_owned(),
            namespace: row.target.namespace().to_owned(),
            replicas: row.desired.map(Replicas::get),
            current_replicas: row.current.map(Replicas::get),
            ready_replicas: row.ready,
            state: proto::DeploymentState::from(row.state).into(),
            kind: kind.into(),
            other_kind,
            state_reason: row.reason.map(|reason| reason.to_string()).unwrap_or_default(),
            last_failure: row.failure.map(Into::into),
            steady_conflict: row.steady_conflict.map(Into::into),
            hold_until: row.hold.map(|hold| response::timestamp(hold.until)),
            replicas_afterwards: row.hold.and_then(|hold| hold.afterwards).map(Replicas::get),
        }
    }
}

/// Merges two sorted iterators, with one row for a target that is in both.
struct Rows<S: Iterator, O: Iterator> {
    stored: Peekable<S>,
    observed: Peekable<O>,
}

impl<'a, S, O> Iterator for Rows<S, O>
where
    S: Iterator<Item = (&'a Target, &'a Arc<Setting>)>,
    O: Iterator<Item = (&'a Target, &'a Observed)>,
{
    type Item = (&'a Target, Option<&'a Arc<Setting>>, Option<&'a Observed>);

    fn next(&mut self) -> Option<Self::Item> {
        let next_stored = self.stored.peek().map(|(target, _)| *target);
        let next_observed = self.observed.peek().map(|(target, _)| *target);
        let first = match (next_stored, next_observed) {
            (Some(stored), Some(observed)) => stored.min(observed),
            (Some(target), None) | (None, Some(target)) => target,
            (None, None) => return None,
        };
        let setting = self.stored.next_if(|(target, _)| *target == first);
        let observed = self.observed.next_if(|(target, _)| *target == first);
        Some((first, setting.map(|(_, setting)| setting), observed.map(|(_, observed)| observed)))
    }
}

#[cfg(test)]
mod tests {
    use replica_count_core::setting::Settings;

    use super::*;
    use crate::net::quota::Exhausted;

    fn target(name: &str) -> Target {
        Target::deployment("ns", name).expect("valid")
    }

    fn observed() -> Observed {
        let replicas = Replicas::new(1).expect("valid");
        Observed {
            uid: "u".into(),
            resource_version: None,
            replicas,
            ready: 0,
            ready_before: 0,
            deleting: false,
            owner: None,
        }
    }

    #[test]
    fn merges_settings_and_observed_workloads() {
        let setting = Arc::new(Setting::of(Replicas::new(1).expect("valid")));
        let stored: Settings = ["a", "c", "d"].map(|name| (target(name), Arc::clone(&setting))).into();
        let seen = ["b", "c", "e"].map(|name| (target(name), observed()));
        let rows = Rows {
            stored: stored.iter().peekable(),
            observed: seen.iter().map(|(target, observed)| (target, observed)).peekable(),
        };
        let rows: Vec<_> = rows
            .map(|(target, setting, seen)| (target.name().to_owned(), setting.is_some(), seen.is_some()))
            .collect();
        let expected = [
            ("a", true, false),
            ("b", false, true),
            ("c", true, true),
            ("d", true, false),
            ("e", false, true),
        ];
        assert_eq!(rows, expected.map(|(name, stored, seen)| (name.to_owned(), stored, seen)));
    }

    #[test]
    fn a_row_without_memory_ends_the_work() {
        let mut made = 0;
        let rows = iter::repeat_with(|| {
            made += 1;
            Row::new(&target("a"), None, Observation::Absent, State::Missing, None)
        });
        let mut left = 3;
        let refusal = page(rows, None, |_| {
            left -= 1;
            if left > 0 { Ok(()) } else { Err(Refusal::TooManyAnswers(Exhausted::ForUser)) }
        });
        assert!(matches!(refusal, Err(Refusal::TooManyAnswers(_))));
        assert_eq!(made, 3);
    }

    #[test]
    fn a_page_has_a_token_only_if_another_page_follows() {
        let targets = ["a", "b", "c"].map(target);
        let rows =
            || targets.iter().map(|target| Row::new(target, None, Observation::Absent, State::Missing, None));
        for (size, expected) in
            [(None, None), (Some(1), Some("a")), (Some(2), Some("b")), (Some(3), None), (Some(4), None)]
        {
            let (page, next) = page(rows(), size, |_| Ok(())).expect("nothing is refused");
            assert_eq!(page.len(), size.unwrap_or(3).min(3), "{size:?}");
            assert_eq!(next, expected.map(|name| target(name).into()), "{size:?}");
        }
    }
}
