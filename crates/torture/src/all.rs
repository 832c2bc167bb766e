//! `torture all`: what the rounds of a run draw from, case by case: every fault of every kind of request, a crash before
//! and after every request, a crash at and every failure of every file operation, simulated disks, floods and troubles.

use anyhow::{Context as _, Result, bail};
use replica_count_testbed::fault_proxy::{Encodings, Fault, Kind, StreamFault};

use crate::output::{say, say_error};
use crate::run::play;
use crate::schedule::{Amount, Blow, FILE_CALLS, Faults, FileOperation, Load, Placed, START_CALLS, Schedule};
use crate::stage::Stage;
use crate::table::Table;
use crate::trouble::Trouble;
use crate::{disk, script};

/// All failures of a file operation that are tried.
const ERRNOS: [&str; 3] = ["ENOSPC", "EIO", "EROFS"];
/// How many seeds of a flood and of a trouble.
const SEEDS: u64 = 3;

/// The cases that need no server.
const DISK: &str = "simulated disk";

/// A case of the list.
struct Case {
    name: String,
    schedule: Schedule,
    /// Whether the writes are to be compared with those of the reference run.
    is_compared: bool,
}

/// Plays all cases, or those whose name contains `only`, and says which went wrong.
pub async fn run(stage: &Stage, only: Option<&str>) -> Result<()> {
    let mut table = Table::default();
    let reference = play(stage, "reference", &scripted(Faults::None, None), &mut table).await;
    let reference = reference.context("the reference run")?.writes;
    let cases: Vec<Case> = [faults(), request_crashes(), file_operations(), floods(), troubles()]
        .into_iter()
        .flatten()
        .filter(|case| case.schedule.blow.as_ref().is_none_or(|blow| stage.can_strike(blow)))
        .filter(|case| only.is_none_or(|only| case.name.contains(only)))
        .collect();
    let mut failed = Vec::new();
    if only.is_none_or(|only| DISK.contains(only)) {
        say_error(DISK);
        failed.extend(disk::exhaustively().await.err().map(|error| format!("{DISK}: {error}")));
    }
    for (n, case) in cases.iter().enumerate() {
        let trace = case.name.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        let verdict = play(stage, &trace, &case.schedule, &mut table).await.and_then(|outcome| {
            let writes = outcome.writes;
            if case.is_compared
                && (writes.succeeded > reference.succeeded || writes.sent > reference.sent + 1)
            {
                bail!(
                    "{writes:?}, but {reference:?} in the reference run; trace: {}",
                    outcome.trace.display()
                );
            }
            Ok(())
        });
        say_error(&format!(
            "{} of {}: {}{}",
            n + 1,
            cases.len(),
            case.name,
            if verdict.is_ok() { "" } else { ": FAILED" }
        ));
        failed.extend(verdict.err().map(|error| format!("{}: {error:#}", case.name)));
    }
    say(&table.render());
    if !failed.is_empty() {
        bail!("{} of {} cases failed:\n{}", failed.len(), cases.len(), failed.join("\n"));
    }
    say(&format!("{} cases: nothing lost, nothing stuck", cases.len()));
    Ok(())
}

fn scripted(faults: Faults, blow: Option<Blow>) -> Schedule {
    Schedule { faults, blow, ..Schedule::calm(0, Load::Script) }
}

/// Every fault of every kind of request, met by the first one and, for a Patch or a watch, by a later one.
fn faults() -> Vec<Case> {
    let kinds = [Kind::ListAsStream, Kind::List, Kind::Watch, Kind::Get, Kind::Patch];
    let case = |kind: Kind, after: u64, fault: Fault| {
        let place = Placed { kind, after, fault };
        let faults = Faults::Placed(before(kind, fault).into_iter().chain([place]).collect());
        let load = Load::Drawn(Amount::SMALL);
        let name = format!("{} {after} meets {}", kind.name(), fault.name());
        let schedule = Schedule { faults, ..Schedule::calm(after, load) };
        Case { name, schedule, is_compared: false }
    };
    let cases = kinds.into_iter().flat_map(|kind| {
        let places = match kind {
            Kind::Patch | Kind::Watch => vec![0, 2],
            Kind::List | Kind::ListAsStream | Kind::Get | Kind::Other => vec![0],
        };
        places.into_iter().flat_map(move |after| {
            Fault::all(kind, |below| below / 2).into_iter().map(move |fault| (kind, after, fault))
        })
    });
    cases
        .map(|(kind, after, fault)| {
            // There is an older listing only when there was one before.
            let after = if fault == Fault::StaleList { after + 1 } else { after };
            case(kind, after, fault)
        })
        .collect()
}

/// What leads to a request of that kind.
fn before(kind: Kind, fault: Fault) -> Vec<Placed> {
    let gone = Placed { kind: Kind::Watch, after: 0, fault: Fault::Stream(StreamFault::Gone { at: 1 }) };
    let no_stream = |after| Placed {
        kind: Kind::ListAsStream,
        after,
        fault: Fault::Refuse { status: 422, retry_after_seconds: None },
    };
    let mut before = Vec::new();
    if kind == Kind::List {
        before.push(no_stream(0));
    }
    if fault == Fault::StaleList {
        before.push(gone);
    }
    before
}

/// A crash before and after each request of the script.
fn request_crashes() -> Vec<Case> {
    let requests = [(Kind::ListAsStream, 1), (Kind::Watch, 1), (Kind::Patch, u64::from(script::CHANGES))];
    let places = requests.into_iter().flat_map(|(kind, count)| (0..count).map(move |after| (kind, after)));
    places
        .flat_map(|(kind, after)| {
            [Fault::CrashBefore, Fault::CrashAfter].map(|fault| Case {
                name: format!("{} {after} of the script: {}", kind.name(), fault.name()),
                schedule: scripted(Faults::Placed(vec![Placed { kind, after, fault }]), None),
                is_compared: true,
            })
        })
        .collect()
}

/// A crash at, and each failure of, each file operation of the script, and of a start.
fn file_operations() -> Vec<Case> {
    let operations = |calls: &[(&str, u32)], writes: u32| -> Vec<FileOperation> {
        let of_call = |&(call, count): &(&str, u32)| {
            let call = call.to_owned();
            (1..=count * writes).map(move |when| FileOperation { call: call.clone(), when })
        };
        calls.iter().flat_map(of_call).collect()
    };
    let case = |what: &str, operation: &FileOperation, blow: Blow| Case {
        name: format!("{what} at {} {}", operation.call, operation.when),
        schedule: scripted(Faults::None, Some(blow)),
        is_compared: true,
    };
    let mut cases = Vec::new();
    for operation in operations(&FILE_CALLS, script::CHANGES) {
        cases.push(case("kill", &operation, Blow::KillAtFile(operation.clone())));
        for errno in ERRNOS {
            let blow = Blow::FailFile { operation: operation.clone(), errno: errno.to_owned() };
            cases.push(case(errno, &operation, blow));
        }
    }
    for operation in operations(&START_CALLS, 1) {
        cases.push(case("kill the start", &operation, Blow::KillAtStart(operation.clone())));
    }
    cases
}

/// Floods of changes, with faults.
fn floods() -> Vec<Case> {
    (0..SEEDS).map(|seed| crowd("flood", seed, Amount::FLOOD, None)).collect()
}

/// Each trouble, without faults and with ever more of them.
fn troubles() -> Vec<Case> {
    let seeds = |trouble: Trouble| {
        let amount = if trouble == Trouble::MassDrift { Amount::FLOOD } else { Amount::USUAL };
        (0..SEEDS).map(move |seed| crowd(trouble.name(), seed, amount, Some(trouble)))
    };
    Trouble::ALL.into_iter().flat_map(seeds).collect()
}

fn crowd(name: &str, seed: u64, amount: Amount, trouble: Option<Trouble>) -> Case {
    let faults = Faults::Drawn { percent: 20 * seed };
    let encodings = if seed.is_multiple_of(2) { Encodings::AsAsked } else { Encodings::JsonOnly };
    let schedule = Schedule { faults, encodings, trouble, ..Schedule::calm(seed, Load::Drawn(amount)) };
    Case { name: format!("{name} {seed}"), schedule, is_compared: false }
}
