//! `faults run`: rounds drawn from one seed, until the time is over.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use replica_count_testbed::fault_proxy::{Entry, Note as ProxyNote};

use crate::arrival::{Arrival, Arrivals};
use crate::output::{say, say_error};
use crate::round::{self, Outcome};
use crate::schedule::{Faults, Planned, Schedule, round_seed};
use crate::stage::Stage;
use crate::table::Table;
use crate::trace::{self, Note};

/// How often a trace is played again: what several do at once comes in another order each time.
const AGAIN: u32 = 5;

/// Plays rounds for so long; the first one that goes wrong ends it with an error that says how to run it again.
pub async fn for_a_while(stage: &Stage, seed: u64, duration: Duration) -> Result<()> {
    let begun = Instant::now();
    let mut table = Table::default();
    let mut round = 0;
    while begun.elapsed() < duration {
        let schedule = draw(stage, seed, round);
        let name = format!("seed-{seed}-round-{round}");
        let ended = play(stage, &name, &schedule, &mut table).await;
        let left = duration.saturating_sub(begun.elapsed()).as_secs();
        if ended.is_err() {
            say(&table.render());
        }
        ended.with_context(|| format!("round {round} of seed {seed}"))?;
        say_error(&format!("round {round}: all as promised, about {left} s left"));
        round += 1;
    }
    say(&table.render());
    say(&format!("seed {seed}: {round} rounds, nothing lost, nothing stuck"));
    Ok(())
}

/// Plays so many rounds, and returns what happened; for a test.
pub async fn rounds(stage: &Stage, seed: u64, rounds: u64) -> Result<Table> {
    let mut table = Table::default();
    for round in 0..rounds {
        let schedule = draw(stage, seed, round);
        play(stage, &format!("seed-{seed}-round-{round}"), &schedule, &mut table).await?;
    }
    Ok(table)
}

/// The schedule of a round, without what cannot be done here.
fn draw(stage: &Stage, seed: u64, round: u64) -> Schedule {
    let mut schedule = Schedule::draw(round_seed(seed, round));
    schedule.blow.take_if(|blow| !stage.can_strike(blow));
    schedule
}

/// Plays the round of a trace again: the same schedule, and each request meets what the one in its place met.
pub async fn again(stage: &Stage, trace: &Path) -> Result<()> {
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
        let arrival = arrivals.arrive(*ordinal, *kind, path);
        let Arrival { kind, object, after_of_object: after, .. } = arrival;
        fault.map(|fault| Planned { kind, object, after, fault })
    });
    let schedule = Schedule { faults: Faults::Listed(planned.collect()), ..(**schedule).clone() };
    let mut table = Table::default();
    for n in 1..=AGAIN {
        let played = play(stage, "replay", &schedule, &mut table).await;
        if played.is_err() {
            say(&table.render());
        }
        played.with_context(|| format!("the trace, played for time {n}"))?;
        say_error(&format!("time {n} of {AGAIN}: all as promised"));
    }
    say(&table.render());
    say(&format!("the trace was played again {AGAIN} times, and all was as promised"));
    Ok(())
}

/// What is said when an oracle found something.
pub(crate) const WRONG: &str = "WRONG:";

/// Plays one round; fails if an oracle says so.
pub(crate) async fn play(
    stage: &Stage,
    name: &str,
    schedule: &Schedule,
    table: &mut Table,
) -> Result<Outcome> {
    let outcome = round::play(stage, name, schedule).await?;
    table.add(schedule, &outcome.lines, outcome.converged);
    if outcome.wrong.is_empty() {
        return Ok(outcome);
    }
    let wrong = outcome.wrong.join("\n  ");
    let trace = outcome.trace.display();
    bail!("{WRONG}\n  {wrong}\ntrace: {trace}\nrun it again: target/debug/faults run --replay {trace}");
}
