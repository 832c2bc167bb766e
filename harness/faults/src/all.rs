//! `faults all`: case by case, every fault of every kind of request, a crash before and after every request, a crash at
//! and every failure of every file operation, simulated disks, floods and nemeses.

use anyhow::{Context as _, Result, bail};
use replica_count_testbed::fault_proxy::{Encodings, Fault, Kind, StreamFault};

use crate::arrival::Objects;
use crate::environment::Environment;
use crate::nemesis::Nemesis;
use crate::not_injected::not_injected;
use crate::output::{say, say_error};
use crate::run::play;
use crate::schedule::{
    Amount, FILE_CALLS, Faults, FileOperation, Kinds, Load, Placed, START_CALLS, Schedule, ServerFault, Store,
};
use crate::table::Table;
use crate::{disk, script};

/// The errors injected into file operations.
const ERRNOS: [&str; 3] = ["ENOSPC", "EIO", "EROFS"];
/// The number of seeds for the flood and for each nemesis.
const SEEDS: u64 = 3;

const SWALLOW: Fault = Fault::Stream(StreamFault::Swallow);

/// The name of the cases that need no server.
const DISK: &str = "simulated disk";

/// Part of the message for unexpected writes; `faults mutants` searches for it.
pub(crate) const OTHER_WRITES: &str = "in the reference run";

/// A case.
struct Case {
    name: String,
    schedule: Schedule,
    /// Whether to compare its writes with those of the reference run.
    is_compared: bool,
}

/// Runs all cases, or those whose name contains `only`, and reports which failed.
pub async fn run(environment: &Environment, only: Option<&str>) -> Result<()> {
    let cases: Vec<Case> =
        [faults(), request_crashes(), file_operations(), floods(), nemeses(), replica_counts()]
            .into_iter()
            .flatten()
            .filter(|case| {
                case.schedule.server_fault.as_ref().is_none_or(|fault| environment.can_inject(fault))
            })
            .filter(|case| only.is_none_or(|only| case.name.contains(only)))
            .collect();
    let with_disks = only.is_none_or(|only| DISK.contains(only));
    if cases.is_empty() && !with_disks {
        bail!("no case has a name that contains {:?}", only.unwrap_or_default());
    }
    let mut table = Table::default();
    let reference = play(environment, "reference", &scripted(Faults::None, None), &mut table).await;
    let reference = reference.context("the reference run")?.writes;
    let mut failed = Vec::new();
    if with_disks {
        say_error(DISK);
        failed.extend(disk::try_all().await.err().map(|error| format!("{DISK}: {error}")));
    }
    for (n, case) in cases.iter().enumerate() {
        let trace = case.name.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        let verdict = play(environment, &trace, &case.schedule, &mut table).await.and_then(|report| {
            let writes = report.writes;
            if let Some(reason) = not_injected(&case.schedule, &report.lines) {
                bail!("{reason}: the case proves nothing; trace: {}", report.trace.display());
            }
            if case.is_compared
                && (writes.succeeded > reference.succeeded || writes.sent > reference.sent + 1)
            {
                bail!("{writes:?}, but {reference:?} {OTHER_WRITES}; trace: {}", report.trace.display());
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

fn scripted(faults: Faults, server_fault: Option<ServerFault>) -> Schedule {
    Schedule { faults, server_fault, ..Schedule::without_faults(0, Load::Script) }
}

/// Every fault of every kind of request, for the first request and, for a Patch or a watch, also for a later one.
fn faults() -> Vec<Case> {
    let all = |kind| Fault::all(kind, |below| below / 2).into_iter().map(move |fault| (kind, fault));
    let of_deployments = |(kind, after)| {
        all(kind).map(move |(kind, fault)| fault_of_workloads(Objects::Deployments, kind, after, fault))
    };
    // What differs are the paths and the messages.
    let of_stateful_sets = [Kind::ListAsStream, Kind::List, Kind::Watch, Kind::Get, Kind::Patch]
        .into_iter()
        .flat_map(all)
        .map(|(kind, fault)| fault_of_workloads(Objects::StatefulSets, kind, 0, fault));
    let places = [
        (Kind::ListAsStream, 0),
        (Kind::List, 0),
        (Kind::Watch, 0),
        (Kind::Watch, 2),
        (Kind::Get, 0),
        (Kind::Patch, 0),
        (Kind::Patch, 2),
    ];
    // There is one event for autoscalers, and it has no count.
    let first = |kind| Fault::all(kind, |_| 0).into_iter().map(move |fault| (kind, fault));
    let of_autoscalers = [Kind::ListAsStream, Kind::List, Kind::Watch].into_iter().flat_map(first);
    let of_autoscalers = of_autoscalers.filter(|(_, fault)| *fault != SWALLOW);
    let of_autoscalers = of_autoscalers.map(|(kind, fault)| fault_of_autoscalers(kind, fault));
    places.into_iter().flat_map(of_deployments).chain(of_stateful_sets).chain(of_autoscalers).collect()
}

fn fault_of_workloads(objects: Objects, kind: Kind, after: u64, fault: Fault) -> Case {
    // Later requests need more load, and so do events that cancel out.
    let is_long = after > 0 || fault == SWALLOW;
    let load = Load::Drawn(if is_long { Amount::USUAL } else { Amount::SMALL });
    let nemesis = (fault == SWALLOW).then_some(Nemesis::ThereAndBack);
    let kinds = if objects == Objects::StatefulSets { Kinds::StatefulSets } else { Kinds::Deployments };
    let schedule = Schedule { kinds, nemesis, ..Schedule::without_faults(after, load) };
    fault_case(objects, kind, after, fault, schedule)
}

fn fault_of_autoscalers(kind: Kind, fault: Fault) -> Case {
    let schedule = Schedule::without_faults(0, Load::Drawn(Amount::USUAL));
    let schedule = Schedule { nemesis: Some(Nemesis::Autoscaler), ..schedule };
    fault_case(Objects::Autoscalers, kind, 0, fault, schedule)
}

fn fault_case(objects: Objects, kind: Kind, after: u64, fault: Fault, schedule: Schedule) -> Case {
    // A stale listing requires an earlier one.
    let after = if fault == Fault::StaleList { after + 1 } else { after };
    let place = Placed { kind, objects, after, fault };
    let name = format!("{} meets {}", name_of(&place), fault.name());
    Case { name, schedule: Schedule { faults: at(place), ..schedule }, is_compared: false }
}

/// The description of a place.
fn name_of(place: &Placed) -> String {
    format!("{}{} {}", place.objects.prefix(), place.kind.name(), place.after)
}

/// A fault in a place, and the faults that cause a request there.
fn at(place: Placed) -> Faults {
    Faults::Placed(before(&place).into_iter().chain([place]).collect())
}

/// The faults that cause a request in a place.
fn before(place: &Placed) -> Vec<Placed> {
    let objects = place.objects;
    let meets = |kind, after, fault| Placed { kind, objects, after, fault };
    let mut before = match place.kind {
        // A watch lasts ten seconds, longer than a load.
        Kind::Watch => (0..place.after).map(|after| meets(Kind::Watch, after, Fault::Cut)).collect(),
        Kind::List => {
            vec![meets(Kind::ListAsStream, 0, Fault::Refuse { status: 422, retry_after_seconds: None })]
        }
        // The server only gets a workload that it has not listed yet.
        Kind::Get => vec![meets(Kind::ListAsStream, 0, Fault::Delay { ms: 1_000 })],
        Kind::ListAsStream | Kind::Patch | Kind::Other => vec![],
    };
    if place.fault == Fault::StaleList {
        let at = usize::from(objects != Objects::Autoscalers);
        before.push(meets(Kind::Watch, 0, Fault::Stream(StreamFault::Gone { at })));
    }
    before
}

/// A crash before and after each request that the script causes.
fn request_crashes() -> Vec<Case> {
    let requests = [
        (Objects::Deployments, Kind::ListAsStream, 1),
        (Objects::Deployments, Kind::Watch, 1),
        (Objects::Deployments, Kind::Get, 1),
        (Objects::Deployments, Kind::Patch, script::PATCHES),
        (Objects::StatefulSets, Kind::ListAsStream, 1),
        (Objects::StatefulSets, Kind::Watch, 1),
        (Objects::Autoscalers, Kind::ListAsStream, 1),
        (Objects::Autoscalers, Kind::Watch, 1),
    ];
    let places = requests
        .into_iter()
        .flat_map(|(objects, kind, count)| (0..count).map(move |after| (objects, kind, after)));
    places
        .flat_map(|(objects, kind, after)| {
            [Fault::CrashBefore, Fault::CrashAfter].map(|fault| {
                let place = Placed { kind, objects, after, fault };
                let name = format!("{} of the script: {}", name_of(&place), fault.name());
                Case { name, schedule: scripted(at(place), None), is_compared: true }
            })
        })
        .collect()
}

/// A crash at, and each failure of, each file operation of the script; a crash at each one of a start.
fn file_operations() -> Vec<Case> {
    let operations = |calls: &[(&str, u32)], writes: u32| -> Vec<FileOperation> {
        let of_call = |&(call, count): &(&str, u32)| {
            let call = call.to_owned();
            (1..=count * writes).map(move |when| FileOperation { call: call.clone(), when })
        };
        calls.iter().flat_map(of_call).collect()
    };
    let case = |what: &str, operation: &FileOperation, server_fault: ServerFault| Case {
        name: format!("{what} at {} {}", operation.call, operation.when),
        schedule: scripted(Faults::None, Some(server_fault)),
        is_compared: true,
    };
    let mut cases = Vec::new();
    for operation in operations(&FILE_CALLS, script::CHANGES) {
        cases.push(case("kill", &operation, ServerFault::KillAtFile(operation.clone())));
        for errno in ERRNOS {
            let server_fault =
                ServerFault::FailFile { operation: operation.clone(), errno: errno.to_owned() };
            cases.push(case(errno, &operation, server_fault));
        }
    }
    for operation in operations(&START_CALLS, 1) {
        cases.push(case("kill the start", &operation, ServerFault::KillAtStart(operation.clone())));
    }
    cases
}

/// Floods of changes, with an increasing rate of faults.
fn floods() -> Vec<Case> {
    (0..SEEDS).map(|seed| seeded_case("flood", seed, Amount::FLOOD, None)).collect()
}

/// Each nemesis, with an increasing rate of faults.
fn nemeses() -> Vec<Case> {
    let seeds = |nemesis: Nemesis| {
        let amount = if nemesis == Nemesis::MassDrift { Amount::FLOOD } else { Amount::USUAL };
        (0..SEEDS).map(move |seed| seeded_case(nemesis.name(), seed, amount, Some(nemesis)))
    };
    Nemesis::ALL.into_iter().flat_map(seeds).collect()
}

/// Settings in ReplicaCounts, by one server and by two, which is killed, or paused for longer than it holds the Lease, with an
/// increasing rate of faults.
fn replica_counts() -> Vec<Case> {
    let server_faults =
        [None, Some(ServerFault::Kill { after_ms: 1_500 }), Some(ServerFault::Pause { ms: 4_000 })];
    let mut cases = Vec::new();
    for store in [Store::ReplicaCounts, Store::Shared] {
        for server_fault in &server_faults {
            let what = server_fault.as_ref().map_or("undisturbed", ServerFault::name);
            let name = format!("{}: {what}", store.name());
            for seed in 0..SEEDS {
                let mut case = seeded_case(&name, seed, Amount::USUAL, None);
                case.schedule.store = store;
                case.schedule.server_fault.clone_from(server_fault);
                cases.push(case);
            }
        }
    }
    cases
}

fn seeded_case(name: &str, seed: u64, amount: Amount, nemesis: Option<Nemesis>) -> Case {
    let faults = Faults::Drawn { percent: 20 * seed };
    let encodings = if seed.is_multiple_of(2) { Encodings::AsAsked } else { Encodings::JsonOnly };
    let kinds = Kinds::All;
    let schedule =
        Schedule { faults, kinds, encodings, nemesis, ..Schedule::without_faults(seed, Load::Drawn(amount)) };
    Case { name: format!("{name} {seed}"), schedule, is_compared: false }
}
