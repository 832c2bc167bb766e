//! `faults run`: plays random rounds from one seed for a limited time.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use replica_count_testbed::fault_proxy::{Entry, Note as ProxyNote};

use crate::arrival::{Arrival, Arrivals};
use crate::environment::Environment;
use crate::oracle;
use crate::output::{say, say_error};
use crate::round::{self, Report};
use crate::schedule::{Faults, Planned, Schedule, round_seed};
use crate::table::Table;
use crate::trace::{self, Note, Wrong};

/// How often a trace is replayed, because the order of concurrent actions differs each time.
const REPLAYS: u32 = 5;

/// Plays rounds for this long. The first failed round ends the run with an error that explains how to replay it.
pub async fn run_for(environment: &Environment, seed: u64, duration: Duration) -> Result<()> {
    let begun = Instant::now();
    let mut table = Table::default();
    let mut round = 0;
    while begun.elapsed() < duration {
        let schedule = draw(environment, seed, round);
        let name = format!("seed-{seed}-round-{round}");
        let ended = play(environment, &name, &schedule, &mut table).await;
        let left = duration.saturating_sub(begun.elapsed()).as_secs();
        if ended.is_err() {
            say(&table.render());
        }
        ended.with_context(|| format!("round {round} of seed {seed}"))?;
        say_error(&format!("round {round}: passed, about {left} s left"));
        round += 1;
    }
    say(&table.render());
    say(&format!("seed {seed}: {round} rounds, nothing lost, nothing stuck"));
    Ok(())
}

/// Plays a number of rounds, and returns the table; for a test.
pub async fn rounds(environment: &Environment, seed: u64, rounds: u64) -> Result<Table> {
    let mut table = Table::default();
    for round in 0..rounds {
        let schedule = draw(environment, seed, round);
        play(environment, &format!("seed-{seed}-round-{round}"), &schedule, &mut table).await?;
    }
    Ok(table)
}

/// Plays one long round with [`Nemesis::Soak`].
pub async fn soak(environment: &Environment, seed: u64, duration: Duration) -> Result<()> {
    let schedule = Schedule::soak(seed, duration);
    let mut table = Table::default();
    let report = play(environment, &format!("soak-{seed}"), &schedule, &mut table).await?;
    say(&table.render());
    let longest = |which: fn(&Wrong) -> &BTreeSet<String>| {
        let spells = oracle::spells(&report.lines, which);
        spells.iter().map(|spell| spell.lasted).max().unwrap_or_default().as_secs_f64()
    };
    let (shown, hidden) = (longest(|wrong| &wrong.shown), longest(|wrong| &wrong.hidden));
    say("the longest time that a count was wrong:");
    say(&format!("{shown:.1} s while the server showed it, {hidden:.1} s while it did not"));
    Ok(())
}

/// The schedule of a round, without faults that this machine cannot inject.
fn draw(environment: &Environment, seed: u64, round: u64) -> Schedule {
    let mut schedule = Schedule::draw(round_seed(seed, round));
    schedule.server_fault.take_if(|server_fault| !environment.can_inject(server_fault));
    schedule
}

/// Replays the round of a trace: with the same schedule, and the same fault for the corresponding request.
pub async fn replay(environment: &Environment, trace: &Path) -> Result<()> {
    let lines = trace::read(trace)?;
    let Some(Note::Schedule(schedule)) = lines.first().map(|line| &line.note) else {
        bail!("{} does not begin with a schedule", trace.display());
    };
    let mut arrivals = Arrivals::default();
    let planned = lines.iter().filter_map(|line| {
        let Note::Proxy(Entry { ordinal, note: ProxyNote::Request { kind, uri, fault, .. } }) = &line.note
        else {
            return None;
        };
        let path = uri.split_once('?').map_or(uri.as_str(), |(path, _)| path);
        let arrival = arrivals.record(*ordinal, *kind, path);
        let Arrival { kind, object, after_of_object: after, .. } = arrival;
        fault.map(|fault| Planned { kind, object, after, fault })
    });
    let schedule = Schedule { faults: Faults::Listed(planned.collect()), ..(**schedule).clone() };
    let mut table = Table::default();
    for n in 1..=REPLAYS {
        let played = play(environment, "replay", &schedule, &mut table).await;
        if played.is_err() {
            say(&table.render());
        }
        played.with_context(|| format!("replay {n}"))?;
        say_error(&format!("replay {n} of {REPLAYS}: passed"));
    }
    say(&table.render());
    say(&format!("the trace was replayed {REPLAYS} times, and every replay passed"));
    Ok(())
}

/// Precedes violations in error messages; `faults mutants` searches for it.
pub(crate) const WRONG: &str = "WRONG:";

/// Plays one round, and fails if an oracle finds a violation.
pub(crate) async fn play(
    environment: &Environment,
    name: &str,
    schedule: &Schedule,
    table: &mut Table,
) -> Result<Report> {
    let report = round::play(environment, name, schedule).await?;
    table.add(schedule, &report.lines, report.converged);
    if report.violations.is_empty() {
        return Ok(report);
    }
    let violations = report.violations.join("\n  ");
    let trace = report.trace.display();
    bail!("{WRONG}\n  {violations}\ntrace: {trace}\nreplay it: target/debug/faults run --replay {trace}");
}
