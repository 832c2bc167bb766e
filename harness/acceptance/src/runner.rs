//! Runs the steps, version of Helm after version of Helm, and tells what came of them.

use std::fs;

use anyhow::{Context as _, Result, bail};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use crate::arguments::Arguments;
use crate::helm::Version;
use crate::output::{print, say};
use crate::stage::Stage;
use crate::steps::{self, Step};
use crate::table::{self, Outcome, Row};

/// What came of all steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Passed,
    Failed,
}

/// Runs all steps that were asked for. An error means that they could not be run.
pub(crate) fn run(arguments: &Arguments) -> Result<Verdict> {
    let runtime = Runtime::new().context("cannot start the runtime")?;
    runtime.block_on(async {
        let mut rows = Vec::new();
        for version in &arguments.helm {
            rows.extend(with(arguments, *version).await?);
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

/// All steps with one version of Helm. What they made is removed, also after Ctrl-C.
async fn with(arguments: &Arguments, version: Version) -> Result<Vec<Row>> {
    say(&format!("\n=== {}", version.title()));
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let stopped = async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    tokio::pin!(stopped);
    let stage = tokio::select! {
        stage = Stage::set(arguments, version) => stage?,
        () = &mut stopped => bail!("interrupted"),
    };
    let rows = tokio::select! {
        rows = all(&stage, &arguments.only) => Some(rows),
        () = &mut stopped => None,
    };
    let cleared = stage.clear().await.context("what the steps made is not all removed");
    let Some(rows) = rows else { bail!("interrupted") };
    cleared?;
    rows
}

async fn all(stage: &Stage, only: &[String]) -> Result<Vec<Row>> {
    stage.open().await?;
    let mut rows = Vec::new();
    for step in steps::ALL {
        let wanted = only.is_empty() || step.name == steps::INSTALL.name;
        if !wanted && !only.iter().any(|name| name == step.name) {
            continue;
        }
        let row = one(stage, step).await;
        let stop = step.name == steps::INSTALL.name && matches!(row.outcome, Outcome::Failed(_));
        rows.push(row);
        if stop {
            say("    Without an installation there is nothing to show.");
            break;
        }
    }
    Ok(rows)
}

async fn one(stage: &Stage, step: &Step) -> Row {
    say(&format!("--- {}: {}", step.name, step.about));
    let started = Instant::now();
    let outcome = (step.run)(stage).await.unwrap_or_else(|error| Outcome::Failed(format!("{error:#}")));
    let took = started.elapsed();
    say(&format!("    {} ({:.1} s): {}", outcome.word(), took.as_secs_f64(), outcome.text()));
    if matches!(outcome, Outcome::Failed(_)) {
        stage.show_evidence().await;
    }
    Row::new(step.name, stage.helm, took, outcome)
}
