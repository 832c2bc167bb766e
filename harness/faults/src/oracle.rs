//! The oracles: what must hold whatever happened. Each says what is wrong, in words.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use replica_count_testbed::fault_proxy::{Fault, Kind, Note as ProxyNote};
use serde_json::Value;

use crate::history::{Asked, Operation};
use crate::linearizability;
use crate::trace::{Deed, Line, Note};

/// What comes sooner after a start is from the process before, and was on its way: a new one has to list first.
const STARTING: Duration = Duration::from_millis(50);
/// From the decision for a write until it arrives, on a busy machine. Faults strike after that.
const IN_FLIGHT: Duration = Duration::from_secs(1);
/// The most bouts that one process has over one setting of one target in a minute, whoever fights for it and how fast.
const BOUTS: usize = 20;
const MINUTE: Duration = Duration::from_mins(1);
/// What an API server with too much to do asks for, in seconds.
const SENT_AWAY: u64 = 1;
/// Clocks and schedulers are no finer than this.
const MOMENT: Duration = Duration::from_millis(20);

/// What a round leaves to be judged.
pub(crate) struct Evidence<'a> {
    /// What happened.
    pub(crate) lines: &'a [Line],
    /// What clients were told, by target.
    pub(crate) histories: &'a BTreeMap<String, Vec<Operation>>,
    /// How often somebody else made a count another one.
    pub(crate) deviations: usize,
}

impl Evidence<'_> {
    fn history(&self, target: &str) -> &[Operation] {
        self.histories.get(target).map(Vec::as_slice).unwrap_or_default()
    }

    /// The Set that a write puts into effect: each is of another count.
    fn set(&self, patch: &Patch<'_>) -> Option<&Operation> {
        self.history(patch.target).iter().find(|operation| match operation.asked {
            Asked::Set { count } => Some(i64::from(count)) == patch.count(),
            Asked::Get | Asked::Delete => false,
        })
    }

    /// For how long the server was stopped, all in all, if that was between these two times.
    fn stopped(&self, from: Duration, until: Duration) -> Duration {
        let stops = self.lines.iter().filter_map(|line| {
            let Note::Server(Deed::Pause(pause)) = line.note else { return None };
            (line.at < until && line.at + pause > from).then_some(pause)
        });
        stops.sum()
    }
}

/// How many writes there were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Writes {
    pub(crate) sent: usize,
    pub(crate) succeeded: usize,
}

/// A write that the server sent.
struct Patch<'a> {
    at: Duration,
    ordinal: u64,
    target: &'a str,
    body: &'a Value,
}

/// Says what is wrong.
pub(crate) fn judge(evidence: &Evidence<'_>) -> Vec<String> {
    let patches = patches(evidence.lines);
    let mut wrong = Vec::new();
    for (target, history) in evidence.histories {
        let explained = linearizability::check(None, history);
        wrong.extend(explained.err().map(|error| format!("{target}: {error}")));
    }
    wrong.extend(patches.iter().filter_map(untested));
    wrong.extend(of_old_counts(&patches, evidence));
    wrong.extend(needless(evidence));
    wrong.extend(impatient(&patches, evidence));
    wrong.extend(fought(&patches, evidence.lines));
    wrong
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
        let target = uri.split_once("/deployments/")?.1.split_once('/')?.0;
        Some(Self { at: line.at, ordinal: entry.ordinal, target, body })
    }

    fn operation(&self, n: usize) -> (&str, &str, &Value) {
        let text = |key: &str| self.body[n][key].as_str().unwrap_or_default();
        (text("op"), text("path"), &self.body[n]["value"])
    }

    fn count(&self) -> Option<i64> {
        self.operation(2).2.as_i64()
    }
}

/// Every write tests the object and the count that it was decided on.
fn untested(patch: &Patch<'_>) -> Option<String> {
    let uid = patch.operation(0);
    let count = patch.operation(1);
    let tests_both =
        (uid.0, uid.1) == ("test", "/metadata/uid") && (count.0, count.1) == ("test", "/spec/replicas");
    (!tests_both).then(|| format!("request {} writes what it did not test: {}", patch.ordinal, patch.body))
}

/// No write is sent for a count after a newer Set, or a Delete, was acknowledged. One may have been under way: one only,
/// and not for long, unless the server was stopped meanwhile.
fn of_old_counts(patches: &[Patch<'_>], evidence: &Evidence<'_>) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut seen = HashSet::new();
    for patch in patches {
        let history = evidence.history(patch.target);
        let Some(asked) = evidence.set(patch) else {
            wrong.push(format!(
                "request {} writes a count that nobody asked for: {}",
                patch.ordinal, patch.body
            ));
            continue;
        };
        // Of a Set without an answer nobody knows what came after it.
        let newer = history
            .iter()
            .filter(|_| asked.is_acknowledged_change())
            .filter(|newer| {
                newer.is_acknowledged_change() && asked.ended < newer.begun && newer.ended < patch.at
            })
            .max_by_key(|newer| newer.ended);
        let Some(newer) = newer else { continue };
        let is_late = patch.at > newer.ended + IN_FLIGHT + evidence.stopped(newer.ended, patch.at);
        if is_late || !seen.insert((patch.target, newer.ended)) {
            wrong.push(format!(
                "request {} of {}: sent at {:?}, but {newer:?} was acknowledged before: {}",
                patch.ordinal, patch.target, patch.at, patch.body
            ));
        }
    }
    wrong
}

/// Each write that succeeds puts a Set into effect or puts somebody's change back, so there are no more of them.
fn needless(evidence: &Evidence<'_>) -> Option<String> {
    let operations = evidence.histories.values().flatten();
    let sets = operations.filter(|operation| matches!(operation.asked, Asked::Set { .. })).count();
    let (succeeded, reasons) = (writes(evidence.lines).succeeded, sets + evidence.deviations);
    (succeeded > reasons).then(|| format!("{succeeded} writes succeeded, for {reasons} reasons"))
}

/// Counts the writes.
pub(crate) fn writes(lines: &[Line]) -> Writes {
    let sent: HashSet<u64> = patches(lines).iter().map(|patch| patch.ordinal).collect();
    let succeeded = lines.iter().filter(|line| match &line.note {
        Note::Proxy(entry) => {
            matches!(entry.note, ProxyNote::Served { status: 200, .. }) && sent.contains(&entry.ordinal)
        }
        _ => false,
    });
    Writes { sent: sent.len(), succeeded: succeeded.count() }
}

/// Who is asked to wait with a write sends none to that target earlier, for whatever setting, drift or object; unless it
/// has died meanwhile, or its setting was deleted, and it forgot.
fn impatient(patches: &[Patch<'_>], evidence: &Evidence<'_>) -> Vec<String> {
    let mut wrong = Vec::new();
    let lines = evidence.lines;
    let passed: HashSet<u64> = lines.iter().filter_map(passed_on).collect();
    for (asked_at, ordinal, seconds) in lines.iter().filter_map(|line| asked_to_wait(line, &passed)) {
        let Some(patch) = patches.iter().find(|patch| patch.ordinal == ordinal) else { continue };
        let until = asked_at + Duration::from_secs(seconds);
        let is_forgotten = |at: Duration| {
            let is_dead = |line: &Line| line.at + STARTING > patch.at && line.at < at && is_death(line);
            // The setting that the write is for, which may have been deleted before it was on its way.
            let set_at = evidence.set(patch).map_or(patch.at, |set| set.begun);
            let is_deleted = |operation: &Operation| {
                operation.asked == Asked::Delete && operation.ended > set_at && operation.begun < at
            };
            lines.iter().any(is_dead) || evidence.history(patch.target).iter().any(is_deleted)
        };
        wrong.extend(
            patches
                .iter()
                .filter(|next| next.target == patch.target && next.ordinal != ordinal)
                .filter(|next| next.at > asked_at && next.at + MOMENT < until)
                .filter(|next| !is_forgotten(next.at))
                .map(|next| {
                    format!(
                        "request {} of {} came at {:?}, although request {ordinal} was asked to wait until {until:?}",
                        next.ordinal, next.target, next.at
                    )
                }),
        );
    }
    wrong
}

/// Whether the server dies here, or one that has died is started: what it knew is gone.
fn is_death(line: &Line) -> bool {
    matches!(line.note, Note::Server(Deed::Start | Deed::Kill(_)))
}

/// The request of this line, if the API server's own answer to it reaches the server.
fn passed_on(line: &Line) -> Option<u64> {
    let Note::Proxy(entry) = &line.note else { return None };
    match &entry.note {
        ProxyNote::Request { fault: None | Some(Fault::Delay { .. }), .. } => Some(entry.ordinal),
        _ => None,
    }
}

/// Who is asked to wait by this line, and how many seconds: by a fault, or by the API server itself.
fn asked_to_wait(line: &Line, passed: &HashSet<u64>) -> Option<(Duration, u64, u64)> {
    let Note::Proxy(entry) = &line.note else { return None };
    match &entry.note {
        ProxyNote::Answered { status: 429 } if passed.contains(&entry.ordinal) => {
            Some((line.at, entry.ordinal, SENT_AWAY))
        }
        ProxyNote::Request {
            fault: Some(Fault::Refuse { retry_after_seconds: Some(seconds), .. }), ..
        } => Some((line.at, entry.ordinal, *seconds)),
        _ => None,
    }
}

/// Who is fought answers ever more slowly. A bout is a write that was carried out or came too late; each process counts its
/// own, and a new setting begins anew.
fn fought(patches: &[Patch<'_>], lines: &[Line]) -> Vec<String> {
    let bouts: HashSet<u64> = lines.iter().filter_map(bout).collect();
    let starts: Vec<Duration> = lines.iter().filter(|line| is_death(line)).map(|line| line.at).collect();
    let mut fights: BTreeMap<_, Vec<Duration>> = BTreeMap::new();
    for patch in patches.iter().filter(|patch| bouts.contains(&patch.ordinal)) {
        let process = starts.partition_point(|start| *start <= patch.at);
        fights.entry((process, patch.target, patch.count())).or_default().push(patch.at);
    }
    let too_many =
        |times: &&Vec<Duration>| times.windows(BOUTS + 1).any(|some| some[BOUTS] < some[0] + MINUTE);
    fights
        .iter()
        .filter(|(_, times)| too_many(times))
        .map(|((_, target, count), times)| {
            format!("{target}: {} writes of {count:?} in one fight: {times:?}", times.len())
        })
        .collect()
}

fn bout(line: &Line) -> Option<u64> {
    let Note::Proxy(entry) = &line.note else { return None };
    match &entry.note {
        ProxyNote::Served { status: 200 | 409 | 422, .. }
        | ProxyNote::Answered { status: 200 | 409 | 422 } => Some(entry.ordinal),
        _ => None,
    }
}
