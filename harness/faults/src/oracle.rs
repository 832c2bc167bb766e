//! The oracles: each checks an invariant of a round and describes violations.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use replica_count_testbed::fault_proxy::{Fault, Kind, Note as ProxyNote};
use serde_json::Value;

use crate::history::{Operation, Request};
use crate::trace::{Line, Note, ServerEvent, Wrong};
use crate::{lease, linearizability};

/// A write that arrives sooner after a start was sent by the previous process: a new one has to list first.
const STARTING: Duration = Duration::from_millis(50);
/// How long a write may take from its decision to the proxy on a busy machine, before any fault.
const IN_FLIGHT: Duration = Duration::from_secs(1);
/// The limit of writes by one process for one setting of one target in a minute, however fast others change the count.
const MAX_WRITES_PER_MINUTE: usize = 20;
const MINUTE: Duration = Duration::from_mins(1);
/// The `Retry-After` of an overloaded API server, in seconds.
const OVERLOAD_RETRY_AFTER: u64 = 1;
/// How long a wrong count may be shown as in sync.
const MAX_HIDDEN: Duration = Duration::from_secs(10);
/// A frozen stream is noticed only after this time.
const SILENCE: Duration = Duration::from_secs(15);
/// How long a server may not know what another one has stored: until it notices that its watch is frozen, and has listed.
const BEHIND: Duration = Duration::from_secs(25);
/// The tolerance for clocks and schedulers.
const TOLERANCE: Duration = Duration::from_millis(20);

/// The evidence of a round.
pub(crate) struct Evidence<'a> {
    /// The trace.
    pub(crate) lines: &'a [Line],
    /// The operations of clients, by target.
    pub(crate) histories: &'a BTreeMap<String, Vec<Operation>>,
    /// How often somebody else changed a count.
    pub(crate) deviations: usize,
    /// Whether a second server may have sent some of the writes. It does not know what the first one knew.
    pub(crate) is_shared: bool,
}

impl Evidence<'_> {
    fn history(&self, target: &str) -> &[Operation] {
        self.histories.get(target).map(Vec::as_slice).unwrap_or_default()
    }

    /// The Set that a write applies. Each Set has a unique count.
    fn set(&self, patch: &Patch<'_>) -> Option<&Operation> {
        self.history(patch.target).iter().find(|operation| match operation.request {
            Request::Set { count } => Some(i64::from(count)) == patch.count(),
            Request::Get | Request::Delete => false,
        })
    }

    /// How long the server was paused in total between these two times.
    fn stopped(&self, from: Duration, until: Duration) -> Duration {
        let stops = self.lines.iter().filter_map(|line| {
            let Note::Server(ServerEvent::Pause(pause)) = line.note else { return None };
            (line.at < until && line.at + pause > from).then_some(pause)
        });
        stops.sum()
    }
}

/// The number of writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Writes {
    pub(crate) sent: usize,
    pub(crate) succeeded: usize,
}

/// A write by the server.
struct Patch<'a> {
    at: Duration,
    ordinal: u64,
    target: &'a str,
    body: &'a Value,
}

/// A time during which the count of a target was wrong.
pub(crate) struct Spell<'a> {
    pub(crate) target: &'a str,
    pub(crate) begun: Duration,
    pub(crate) lasted: Duration,
}

/// Returns all violations.
pub(crate) fn judge(evidence: &Evidence<'_>) -> Vec<String> {
    let patches = patches(evidence.lines);
    let mut violations = Vec::new();
    for (target, history) in evidence.histories {
        let explained = linearizability::check(None, history);
        violations.extend(explained.err().map(|error| format!("{target}: {error}")));
    }
    violations.extend(patches.iter().filter_map(without_tests));
    violations.extend(stale_writes(&patches, evidence));
    violations.extend(unneeded_writes(evidence));
    if !evidence.is_shared {
        violations.extend(ignored_retry_after(&patches, evidence));
        violations.extend(too_frequent_writes(&patches, evidence.lines));
    }
    violations.extend(hidden_for_long(evidence.lines));
    violations
}

fn patches(lines: &[Line]) -> Vec<Patch<'_>> {
    lines.iter().filter_map(Patch::of).collect()
}

impl<'a> Patch<'a> {
    fn of(line: &'a Line) -> Option<Self> {
        let Note::Proxy(entry) = &line.note else { return None };
        let ProxyNote::Request { kind: Kind::Patch, uri, body: Some(body), .. } = &entry.note else {
            return None;
        };
        let target = uri.split_once("/namespaces/")?.1.split_once('/')?.1.split_once("/scale")?.0;
        Some(Self { at: line.at, ordinal: entry.ordinal, target, body })
    }

    fn operation(&self, n: usize) -> (&str, &str, &Value) {
        let text = |key: &str| self.body[n][key].as_str().unwrap_or_default();
        (text("op"), text("path"), &self.body[n]["value"])
    }

    /// Whether this is an update or a server-side apply, of a Scale, and not a JSON Patch.
    fn is_apply(&self) -> bool {
        self.body.is_object()
    }

    fn count(&self) -> Option<i64> {
        if self.is_apply() { &self.body["spec"]["replicas"] } else { self.operation(2).2 }.as_i64()
    }
}

/// Every write must test the object, and the count or version, that it was decided on.
fn without_tests(patch: &Patch<'_>) -> Option<String> {
    let tests_both = if patch.is_apply() {
        let metadata = &patch.body["metadata"];
        let has = |key: &str| metadata[key].as_str().is_some_and(|value| !value.is_empty());
        has("uid") && has("resourceVersion")
    } else {
        let uid = patch.operation(0);
        let count = patch.operation(1);
        (uid.0, uid.1) == ("test", "/metadata/uid") && (count.0, count.1) == ("test", "/spec/replicas")
    };
    (!tests_both).then(|| format!("request {} writes what it did not test: {}", patch.ordinal, patch.body))
}

/// After a newer Set or a Delete is acknowledged, no write of an older count may be sent. One write may have been in
/// flight, but only one, and only briefly, unless the server was paused meanwhile. Of two servers, one may have acknowledged
/// what the other one does not know yet.
fn stale_writes(patches: &[Patch<'_>], evidence: &Evidence<'_>) -> Vec<String> {
    let mut violations = Vec::new();
    let mut seen = HashSet::new();
    for patch in patches {
        let history = evidence.history(patch.target);
        let Some(set) = evidence.set(patch) else {
            violations.push(format!(
                "request {} writes a count that nobody has set: {}",
                patch.ordinal, patch.body
            ));
            continue;
        };
        // It is unknown what came after a Set without an answer.
        let newer = history
            .iter()
            .filter(|_| set.is_acknowledged_change())
            .filter(|newer| {
                newer.is_acknowledged_change() && set.ended < newer.begun && newer.ended < patch.at
            })
            .max_by_key(|newer| newer.ended);
        let Some(newer) = newer else { continue };
        let in_flight = if evidence.is_shared { BEHIND } else { IN_FLIGHT };
        let is_late = patch.at > newer.ended + in_flight + evidence.stopped(newer.ended, patch.at);
        let is_second = !evidence.is_shared && !seen.insert((patch.target, newer.ended));
        if is_late || is_second {
            violations.push(format!(
                "request {} of {}: sent at {:?}, but {newer:?} was acknowledged before: {}",
                patch.ordinal, patch.target, patch.at, patch.body
            ));
        }
    }
    violations
}

/// Each successful write must apply a Set or repair somebody's change, so there cannot be more writes than these. What a
/// policy changes is written again and again.
fn unneeded_writes(evidence: &Evidence<'_>) -> Option<String> {
    let changed: HashSet<&str> = evidence.lines.iter().filter_map(changed_by_policy).collect();
    let histories = evidence.histories.iter().filter(|(target, _)| !changed.contains(target.as_str()));
    let operations = histories.flat_map(|(_, history)| history);
    let sets = operations.filter(|operation| matches!(operation.request, Request::Set { .. })).count();
    let patches = patches(evidence.lines);
    let others = patches.iter().filter(|patch| !changed.contains(patch.target));
    let (succeeded, reasons) = (count(others, evidence.lines).succeeded, sets + evidence.deviations);
    (succeeded > reasons).then(|| format!("{succeeded} writes succeeded, for {reasons} reasons"))
}

fn changed_by_policy(line: &Line) -> Option<&str> {
    if let Note::PolicyChanges(target) = &line.note { Some(target) } else { None }
}

/// Counts the writes.
pub(crate) fn writes(lines: &[Line]) -> Writes {
    count(patches(lines).iter(), lines)
}

fn count<'a>(patches: impl Iterator<Item = &'a Patch<'a>>, lines: &[Line]) -> Writes {
    let sent: HashSet<u64> = patches.map(|patch| patch.ordinal).collect();
    let succeeded = lines.iter().filter(|line| match &line.note {
        Note::Proxy(entry) => {
            matches!(entry.note, ProxyNote::Served { status: 200, .. }) && sent.contains(&entry.ordinal)
        }
        _ => false,
    });
    Writes { sent: sent.len(), succeeded: succeeded.count() }
}

/// After a `Retry-After`, no write for the same target may be sent too early, whatever the setting, drift or object.
/// This ends if the server dies, with its term, or if the setting is deleted.
fn ignored_retry_after(patches: &[Patch<'_>], evidence: &Evidence<'_>) -> Vec<String> {
    let mut violations = Vec::new();
    let lines = evidence.lines;
    let passed: HashSet<u64> = lines.iter().filter_map(passed_on).collect();
    let losses = losses(lines);
    for (asked_at, ordinal, seconds) in lines.iter().filter_map(|line| asked_to_wait(line, &passed)) {
        let Some(patch) = patches.iter().find(|patch| patch.ordinal == ordinal) else { continue };
        let until = asked_at + Duration::from_secs(seconds);
        let is_forgotten = |at: Duration| {
            let is_lost = |loss: &Duration| *loss + STARTING > patch.at && *loss < at;
            // The Set of this write; its setting may have been deleted before the write was sent.
            let set_at = evidence.set(patch).map_or(patch.at, |set| set.begun);
            let is_deleted = |operation: &Operation| {
                operation.request == Request::Delete && operation.ended > set_at && operation.begun < at
            };
            losses.iter().any(is_lost) || evidence.history(patch.target).iter().any(is_deleted)
        };
        violations.extend(
            patches
                .iter()
                .filter(|next| next.target == patch.target && next.ordinal != ordinal)
                .filter(|next| next.at > asked_at && next.at + TOLERANCE < until)
                .filter(|next| !is_forgotten(next.at))
                .map(|next| {
                    format!(
                        "request {} of {} came at {:?}, but request {ordinal} was answered to wait until {until:?}",
                        next.ordinal, next.target, next.at
                    )
                }),
        );
    }
    violations
}

/// When the server lost what it knew of its writes, in order: it died or started, or its term may have ended, because the
/// Lease was not renewed in time.
fn losses(lines: &[Line]) -> Vec<Duration> {
    let renewals: HashSet<u64> = lines.iter().filter_map(renewal).collect();
    let mut renewed = None;
    let mut losses = Vec::new();
    for line in lines {
        let is_loss = match &line.note {
            Note::Server(ServerEvent::Start | ServerEvent::Kill(_)) => true,
            Note::Proxy(entry) if renewals.contains(&entry.ordinal) => match entry.note {
                ProxyNote::Served { status: 200, .. } => {
                    renewed.replace(line.at).is_some_and(|last| line.at > last + lease::RENEWAL)
                }
                _ => false,
            },
            _ => false,
        };
        if is_loss {
            losses.push(line.at);
        }
    }
    losses
}

/// The request in this line, if it renews the Lease.
fn renewal(line: &Line) -> Option<u64> {
    let Note::Proxy(entry) = &line.note else { return None };
    match &entry.note {
        ProxyNote::Request { kind: Kind::Patch, uri, .. } if uri.contains("/leases/") => Some(entry.ordinal),
        _ => None,
    }
}

/// The request in this line, if the server receives the API server's own answer.
fn passed_on(line: &Line) -> Option<u64> {
    let Note::Proxy(entry) = &line.note else { return None };
    match &entry.note {
        ProxyNote::Request { fault: None | Some(Fault::Delay { .. }), .. } => Some(entry.ordinal),
        _ => None,
    }
}

/// The time, request and seconds of a `Retry-After`, from a fault or from the API server itself.
fn asked_to_wait(line: &Line, passed: &HashSet<u64>) -> Option<(Duration, u64, u64)> {
    let Note::Proxy(entry) = &line.note else { return None };
    match &entry.note {
        ProxyNote::Answered { status: 429 } if passed.contains(&entry.ordinal) => {
            Some((line.at, entry.ordinal, OVERLOAD_RETRY_AFTER))
        }
        ProxyNote::Request {
            fault: Some(Fault::Refuse { retry_after_seconds: Some(seconds), .. }), ..
        } => Some((line.at, entry.ordinal, *seconds)),
        _ => None,
    }
}

/// The rate of writes for one setting must be limited. Counts writes that were executed or came too late for the count
/// (any change of the workload makes an update or an apply late); each process, term and setting counts separately.
fn too_frequent_writes(patches: &[Patch<'_>], lines: &[Line]) -> Vec<String> {
    let counted: HashMap<u64, u16> = lines.iter().filter_map(counted_write).collect();
    let starts = losses(lines);
    let mut conflicts: BTreeMap<_, Vec<Duration>> = BTreeMap::new();
    let counts = |patch: &&Patch<'_>| match counted.get(&patch.ordinal) {
        Some(409) => !patch.is_apply(),
        status => status.is_some(),
    };
    for patch in patches.iter().filter(counts) {
        let process = starts.partition_point(|start| *start <= patch.at);
        conflicts.entry((process, patch.target, patch.count())).or_default().push(patch.at);
    }
    let too_many = |times: &&Vec<Duration>| {
        let mut windows = times.windows(MAX_WRITES_PER_MINUTE + 1);
        windows.any(|window| window[MAX_WRITES_PER_MINUTE] < window[0] + MINUTE)
    };
    conflicts
        .iter()
        .filter(|(_, times)| too_many(times))
        .map(|((_, target, count), times)| {
            format!("{target}: {} writes of {count:?} in one conflict: {times:?}", times.len())
        })
        .collect()
}

/// The request that was answered here, and the status, if it counts.
fn counted_write(line: &Line) -> Option<(u64, u16)> {
    let Note::Proxy(entry) = &line.note else { return None };
    match entry.note {
        ProxyNote::Served { status: status @ (200 | 409 | 422), .. }
        | ProxyNote::Answered { status: status @ (200 | 409 | 422) } => Some((entry.ordinal, status)),
        _ => None,
    }
}

/// A wrong count must not be shown as in sync for long.
fn hidden_for_long(lines: &[Line]) -> Vec<String> {
    let limit = if lines.iter().any(has_fault) { MAX_HIDDEN + SILENCE } else { MAX_HIDDEN };
    let spells = spells(lines, |wrong| &wrong.hidden).into_iter();
    spells
        .filter(|spell| spell.lasted > limit)
        .map(|Spell { target, begun, lasted }| {
            format!("the count of {target} was wrong and shown as in sync for {lasted:?} from {begun:?} on")
        })
        .collect()
}

/// Whether a request got a fault here.
fn has_fault(line: &Line) -> bool {
    let Note::Proxy(entry) = &line.note else { return false };
    matches!(entry.note, ProxyNote::Request { fault: Some(_), .. })
}

/// The times during which the counts of targets were wrong and, as `which` says, shown or hidden.
pub(crate) fn spells(lines: &[Line], which: impl Fn(&Wrong) -> &BTreeSet<String>) -> Vec<Spell<'_>> {
    let mut open: BTreeMap<&str, Duration> = BTreeMap::new();
    let mut spells = Vec::new();
    for line in lines {
        let Note::WrongCounts(wrong) = &line.note else { continue };
        let targets = which(wrong);
        let ended = open.extract_if(.., |target, _| !targets.contains(*target));
        spells.extend(ended.map(|(target, begun)| Spell {
            target,
            begun,
            lasted: line.at.saturating_sub(begun),
        }));
        for target in targets {
            open.entry(target).or_insert(line.at);
        }
    }
    let end = lines.last().map_or(Duration::ZERO, |line| line.at);
    spells.extend(open.into_iter().map(|(target, begun)| Spell {
        target,
        begun,
        lasted: end.saturating_sub(begun),
    }));
    spells
}
