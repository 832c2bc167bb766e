//! A run: one benchmark after the other, then the table and the file.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum as _;
use jiff::Timestamp;
use replica_count_testbed::Baseline;
use replica_count_testbed::baseline::Profile;
use tokio::runtime::Runtime;
use tokio::task;

use crate::arguments::{Arguments, Benchmark, Command, Measure};
use crate::contestant::Contestant;
use crate::machine::{Load, Machine, Version};
use crate::output::{say, say_error};
use crate::results::{Outcome, Results};
use crate::{
    attempts, cli, crd, drain, drift, fight, guard, idle, mass, memory, pods, requests, restart, sets, start,
    table, tell,
};

/// Does what the command line asks for.
pub(crate) fn run(arguments: Arguments) -> Result<()> {
    match arguments.command {
        Some(Command::BareLoop(arguments)) => drift::bare_loop::run(&arguments),
        Some(Command::Drain(arguments)) => drain::run(&arguments),
        Some(Command::BareServer(arguments)) => requests::bare_server::run(&arguments),
        Some(Command::BarePatches(arguments)) => mass::bare_patches::run(&arguments),
        None => {
            let runtime = Runtime::new().context("cannot start the runtime")?;
            let result = runtime.block_on(async {
                tokio::select! {
                    result = measure(&arguments.measure) => result,
                    _ = tokio::signal::ctrl_c() => bail!("interrupted"),
                }
            });
            // A build of the cluster's programs that goes on in a thread is not waited for.
            runtime.shutdown_background();
            result
        }
    }
}

async fn measure(arguments: &Measure) -> Result<()> {
    let baseline =
        arguments.baseline.as_deref().map(|revision| find_baseline(revision, arguments)).transpose()?;
    let commit = baseline.as_ref().map(|baseline| baseline.commit().to_owned());
    let contestants = Contestant::all(build_baseline(baseline, arguments.short).await?);
    let (started, load_before) = (Timestamp::now(), Load::read()?);
    let mut benchmarks = Vec::new();
    for &benchmark in Benchmark::value_variants() {
        if arguments.only.is_none_or(|only| only == benchmark) {
            say_error(&format!("{benchmark}: {}", benchmark.about()));
            benchmarks.push(
                outcome(benchmark, arguments, &contestants).await.with_context(|| benchmark.to_string())?,
            );
        }
    }
    let results = Results {
        started,
        short: arguments.short,
        machine: Machine::read()?,
        version: Version::read(),
        baseline: commit,
        load_before,
        load_after: Load::read()?,
        benchmarks,
    };
    show(&results)
}

/// Before anything is started, as it may not be there.
fn find_baseline(revision: &str, arguments: &Measure) -> Result<Baseline> {
    if let Some(only) = arguments.only.filter(|only| !only.has_baseline()) {
        bail!("{only} measures no baseline: leave --baseline out, or choose another benchmark");
    }
    Baseline::find(revision).context("--baseline")
}

/// The program of the baseline.
async fn build_baseline(baseline: Option<Baseline>, short: bool) -> Result<Option<PathBuf>> {
    let Some(baseline) = baseline else { return Ok(None) };
    // Nothing is measured in a short run, so it does not wait for an optimized build.
    let profile = if short { Profile::Debug } else { Profile::Release };
    let program = task::spawn_blocking(move || baseline.ensure(profile));
    program.await.context("the build of the baseline panicked")?.map(Some)
}

async fn outcome(benchmark: Benchmark, arguments: &Measure, contestants: &[Contestant]) -> Result<Outcome> {
    let &Measure { rounds, short, .. } = arguments;
    match benchmark {
        Benchmark::Drift => drift::measure(&drift::Plan::new(rounds, short), contestants).await,
        Benchmark::Fight => fight::measure(&fight::Plan::new(rounds, short)).await,
        Benchmark::Mass => {
            mass::measure(if short { &mass::Plan::SHORT } else { &mass::Plan::FULL }, contestants).await
        }
        Benchmark::Memory => {
            memory::measure(if short { &memory::Plan::SHORT } else { &memory::Plan::FULL }, contestants).await
        }
        Benchmark::Start => {
            start::measure(if short { &start::Plan::SHORT } else { &start::Plan::FULL }, contestants).await
        }
        Benchmark::Idle => {
            idle::measure(if short { &idle::Plan::SHORT } else { &idle::Plan::FULL }, contestants).await
        }
        Benchmark::Restart => {
            restart::measure(if short { &restart::Plan::SHORT } else { &restart::Plan::FULL }, contestants)
                .await
        }
        Benchmark::Requests => {
            requests::measure(if short { &requests::Plan::SHORT } else { &requests::Plan::FULL }, contestants)
                .await
        }
        Benchmark::Sets => sets::measure(if short { &sets::Plan::SHORT } else { &sets::Plan::FULL }).await,
        Benchmark::Crd => crd::measure(if short { &crd::Plan::SHORT } else { &crd::Plan::FULL }).await,
        Benchmark::Pods => pods::measure(if short { &pods::Plan::SHORT } else { &pods::Plan::FULL }).await,
        Benchmark::Guard => {
            guard::measure(if short { &guard::Plan::SHORT } else { &guard::Plan::FULL }).await
        }
        Benchmark::Cli => cli::measure(if short { &cli::Plan::SHORT } else { &cli::Plan::FULL }).await,
        Benchmark::Tell => tell::measure(if short { &tell::Plan::SHORT } else { &tell::Plan::FULL }).await,
        Benchmark::Attempts => attempts::measure(&attempts::Plan::new(rounds, short)).await,
    }
}

fn show(results: &Results) -> Result<()> {
    let rows = results.rows();
    say(&table::render(&rows));
    if let Some(intervals) = table::render_intervals(&rows) {
        say(&intervals);
    }
    if results.short {
        say("A short run: it shows that the benchmarks run, the figures say nothing.");
    }
    let path = results.write()?;
    say(&format!("{}", path.display()));
    Ok(())
}
