//! Runs the steps with each version of Helm, and reports the results.

use std::fs;

use anyhow::{Context as _, Result, bail};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use crate::arguments::Arguments;
use crate::fixture::Fixture;
use crate::helm::Version;
use crate::output::{print, say};
use crate::steps::{self, Step};
use crate::table::{self, Outcome, Row};

/// The overall result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Passed,
    Failed,
}

/// Runs all requested steps. An error means that they could not be run.
pub(crate) fn run(arguments: &Arguments) -> Result<Verdict> {
    let runtime = Runtime::new().context("cannot start the runtime")?;
    runtime.block_on(async {
        let mut rows = Vec::new();
        for version in &arguments.helm {
            rows.extend(run_with(arguments, *version).await?);
        }
        print(&format!("\n{}", table::render(&rows, &arguments.helm)));
        if let Some(path) = &arguments.json {
            let text = serde_json::to_string_pretty(&rows)?;
            fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))?;
        }
        let failed = rows.iter().any(|row| matches!(row.outcome, Outcome::Failed(_)));
        Ok(if failed { Verdict::Failed } else { Verdict::Passed })
    })
}

/// Runs all steps with one version of Helm. Cleans up afterwards, even after Ctrl-C.
async fn run_with(arguments: &Arguments, version: Version) -> Result<Vec<Row>> {
    say(&format!("\n=== {}", version.title()));
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let stopped = async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    tokio::pin!(stopped);
    let fixture = tokio::select! {
        fixture = Fixture::prepare(arguments, version) => fixture?,
        () = &mut stopped => bail!("interrupted"),
    };
    let rows = tokio::select! {
        rows = run_all(&fixture, &arguments.only) => Some(rows),
        () = &mut stopped => None,
    };
    let cleaned_up = fixture.clean_up().await.context("the cleanup failed");
    let Some(rows) = rows else { bail!("interrupted") };
    cleaned_up?;
    rows
}

async fn run_all(fixture: &Fixture, only: &[String]) -> Result<Vec<Row>> {
    fixture.create_namespace().await?;
    let mut rows = Vec::new();
    for step in steps::ALL {
        let wanted = only.is_empty() || step.name == steps::INSTALL.name;
        if !wanted && !only.iter().any(|name| name == step.name) {
            continue;
        }
        let row = run_one(fixture, step).await;
        let stop = step.name == steps::INSTALL.name && matches!(row.outcome, Outcome::Failed(_));
        rows.push(row);
        if stop {
            say("    Without an installation, the other steps cannot run.");
            break;
        }
    }
    Ok(rows)
}

async fn run_one(fixture: &Fixture, step: &Step) -> Row {
    say(&format!("--- {}: {}", step.name, step.about));
    let started = Instant::now();
    let outcome = (step.run)(fixture).await.unwrap_or_else(|error| Outcome::Failed(format!("{error:#}")));
    let took = started.elapsed();
    say(&format!("    {} ({:.1} s): {}", outcome.word(), took.as_secs_f64(), outcome.text()));
    if matches!(outcome, Outcome::Failed(_)) {
        fixture.show_diagnostics().await;
    }
    Row::new(step.name, fixture.helm, took, outcome)
}
