//! A run: one benchmark after the other, then the table and the file.

use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;
use tokio::runtime::Runtime;

use crate::arguments::{Arguments, Benchmark, Command, Measure};
use crate::machine::{Load, Machine, Version};
use crate::output::{say, say_error};
use crate::results::{Outcome, Results};
use crate::table::{self, Row};
use crate::{drift, fight, mass, memory};

/// Does what the command line asks for.
pub(crate) fn run(arguments: Arguments) -> Result<()> {
    match arguments.command {
        Some(Command::BareLoop(arguments)) => drift::bare_loop::run(&arguments),
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
    let (started, load_before) = (Timestamp::now(), Load::read()?);
    let wanted = |benchmark| arguments.only.is_none_or(|only| only == benchmark);
    let mut benchmarks = Vec::new();
    if wanted(Benchmark::Drift) {
        say_error("drift: from drift to repair, as an independent watcher sees them");
        let plan = drift::Plan::new(arguments.rounds, arguments.short);
        benchmarks.push(drift::measure(&plan).await.context("drift")?);
    }
    if wanted(Benchmark::Fight) {
        say_error("fight: the repair of others while somebody fights");
        let plan = drift::Plan::new(arguments.rounds, arguments.short);
        benchmarks.push(fight::measure(&plan).await.context("fight")?);
    }
    if wanted(Benchmark::Mass) {
        say_error("mass: everything has drifted at once");
        let plan = if arguments.short { mass::Plan::SHORT } else { mass::Plan::FULL };
        benchmarks.push(mass::measure(&plan).await.context("mass")?);
    }
    if wanted(Benchmark::Memory) {
        say_error("memory: resident memory beside many Deployments");
        let plan = if arguments.short { memory::Plan::SHORT } else { memory::Plan::FULL };
        benchmarks.push(memory::measure(&plan).await.context("memory")?);
    }
    let results = Results {
        started,
        short: arguments.short,
        machine: Machine::read()?,
        version: Version::read(),
        load_before,
        load_after: Load::read()?,
        benchmarks,
    };
    show(&results)
}

fn show(results: &Results) -> Result<()> {
    let rows: Vec<Row> = results.benchmarks.iter().flat_map(|Outcome { rows, .. }| rows.clone()).collect();
    say(&table::render(&rows));
    if results.short {
        say("A short run: it shows that the benchmarks run, the figures say nothing.");
    }
    let path = results.write()?;
    say(&format!("{}", path.display()));
    Ok(())
}
