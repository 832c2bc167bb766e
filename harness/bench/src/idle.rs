//! Measures idle CPU use: while nothing happens, and while only the status of unmanaged Deployments changes. All
//! contestants run at the same time and see the same events, beside a `curl` of the same watch.

use std::time::Duration;

use anyhow::{Context as _, Result};
use replica_count_testbed::control_plane::{Options, Scope};
use replica_count_testbed::{ControlPlane, Manager};
use serde::Serialize;
use serde_json::json;
use tokio::time::{self, Instant};

use crate::contestant::{Contestant, Scores};
use crate::cpu_time::CpuTime;
use crate::curl::Curl;
use crate::fleet::Fleet;
use crate::output::say_error;
use crate::results::Outcome;
use crate::table::{Goal, Rival, Row, Unit};
use crate::unrelated::Unrelated;

/// The size and the length of the measurement.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    deployments: usize,
    managed: usize,
    /// How long the contestants may process the initial listing.
    settle: Duration,
    idle: Duration,
    busy: Duration,
}

impl Plan {
    pub(crate) const FULL: Self = Self {
        deployments: 10_000,
        managed: 200,
        settle: Duration::from_secs(10),
        idle: Duration::from_mins(1),
        busy: Duration::from_secs(30),
    };
    pub(crate) const SHORT: Self = Self {
        deployments: 300,
        managed: 30,
        settle: Duration::from_secs(1),
        idle: Duration::from_secs(2),
        busy: Duration::from_secs(2),
    };
}

/// The limit of the server's idle CPU use, in percent of a core.
const GOAL_IDLE: f64 = 0.1;

/// The CPU use of one process, in percent of a core.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Score {
    idle: f64,
    busy: f64,
}

/// Measures.
pub(crate) async fn measure(plan: &Plan, contestants: &[Contestant]) -> Result<Outcome> {
    let control_plane = ControlPlane::start(Options::beside_this_program()?).await?;
    let fleet = Fleet { namespace: "storefront", size: plan.deployments, replicas: 3 };
    fleet.create(&control_plane).await?;
    let mut processes = Vec::new();
    for contestant in contestants {
        let options = contestant.options(&control_plane, &Scope::Cluster, &fleet, plan.managed).await?;
        let mut process = Manager::start(&options).await?;
        process.wait_ready().await?;
        processes.push(process);
    }
    let mut curl = Curl::watch(&control_plane).await?;
    let pids: Vec<u32> = processes.iter().map(Manager::pid).chain([curl.pid()]).collect();

    say_error(&format!("letting all settle for {:?} …", plan.settle));
    time::sleep(plan.settle).await;
    say_error(&format!("nothing happens for {:?} …", plan.idle));
    let (idle, ()) = percent_of_core(&pids, time::sleep(plan.idle)).await?;
    say_error(&format!("the status of others changes for {:?} …", plan.busy));
    let unmanaged = Fleet { size: fleet.size - plan.managed, ..fleet };
    let unrelated = Unrelated::new(&control_plane, vec![unmanaged]).await?;
    let (busy, changes) = percent_of_core(&pids, unrelated.beside(time::sleep(plan.busy))).await?;
    let ((), rate) = changes?;
    for process in &mut processes {
        process.check_alive()?;
    }
    curl.check_alive()?;

    let mut scores = Scores::of(contestants, Score::default);
    let mut measured = idle.into_iter().zip(busy).map(|(idle, busy)| Score { idle, busy });
    scores.iter_mut().zip(&mut measured).for_each(|(score, measured)| *score = measured);
    let limit = measured.next().context("curl comes last")?;
    let details = json!({
        "deployments": plan.deployments,
        "managed": plan.managed,
        "idle_seconds": plan.idle.as_secs(),
        "busy_seconds": plan.busy.as_secs(),
        "changes_per_second": rate,
        "limit_percent": limit,
        "percent": scores.details(|score| *score),
    });
    let kubernetes = control_plane.admin().await?.apiserver_version().await?.git_version;
    Ok(Outcome { name: "idle", rows: rows(&scores, limit), kubernetes, details })
}

fn rows(scores: &Scores<Score>, limit: Score) -> Vec<Row> {
    vec![
        scores
            .row("idle: nothing happens", Unit::PercentOfCore, |score| score.idle)
            .judged_by(Goal::Below(GOAL_IDLE)),
        scores
            .row("idle: 200 status events/s", Unit::PercentOfCore, |score| score.busy)
            .beside(Rival::Limit, limit.busy)
            .judged_by(Goal::RatioAtMost(Rival::Limit, 1.5))
            .judged_by(Goal::RatioAtMost(Rival::TunedGo, 0.3))
            .judged_by(Goal::RatioAtMost(Rival::Go, 0.3)),
    ]
}

/// The CPU use of each process, in percent of a core, while `future` runs, and its output.
async fn percent_of_core<T>(pids: &[u32], future: impl Future<Output = T>) -> Result<(Vec<f64>, T)> {
    let read = || pids.iter().map(|&pid| CpuTime::read(pid)).collect::<Result<Vec<_>>>();
    let (before, started) = (read()?, Instant::now());
    let output = future.await;
    let (after, took) = (read()?, started.elapsed().as_secs_f64());
    let percent =
        after.iter().zip(&before).map(|(after, before)| after.since(before).as_secs_f64() / took * 100.0);
    Ok((percent.collect(), output))
}
