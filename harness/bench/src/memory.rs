//! How much memory the whole process takes beside many Deployments that are not its own: while nothing happens, and when
//! the API server has forgotten the version from which to go on, so that all of them are listed anew.

use std::mem;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use replica_count_api::proto::GetDeploymentRequest;
use replica_count_testbed::control_plane::{Options, Scope};
use replica_count_testbed::{ControlPlane, Manager};
use serde::Serialize;
use serde_json::json;
use tokio::time;

use crate::contestant::{Contestant, Scores};
use crate::fleet::Fleet;
use crate::gone;
use crate::output::say_error;
use crate::resident::Resident;
use crate::results::Outcome;
use crate::table::{Goal, Rival, Row, Unit};

/// How much is created, and how long is waited.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// How many Deployments the cluster has, growing.
    sizes: &'static [usize],
    managed: usize,
    /// From the last listing until the memory counts as steady.
    settle: Duration,
}

impl Plan {
    pub(crate) const FULL: Self =
        Self { sizes: &[10_000, 100_000], managed: 200, settle: Duration::from_secs(10) };
    pub(crate) const SHORT: Self = Self { sizes: &[300], managed: 20, settle: Duration::from_millis(500) };
}

/// The most that the server may take, however many there are of those numbers, in MB.
const GOAL_MB: f64 = 48.0;

/// The most that the peak may be, in parts of what is steady.
const PEAK: f64 = 1.3;

/// The most that both may be, in those of the baseline, beside so many Deployments or more. Beside fewer, most of the memory
/// is the code of the program.
const GOAL_BESIDE_BASELINE: f64 = 1.03;
const BASELINE_FROM: usize = 100_000;

/// The metric that counts the Deployments that the server knows.
const KNOWN: &str = "replica_count_manager_deployments ";

/// The least that a Deployment weighs, in kB, or the measurement would flatter.
const DEPLOYMENT_KB: f64 = 3.0;

/// What was measured of one contestant.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Score {
    /// After it was started and had settled.
    steady: Resident,
    /// After it had listed anew and had settled again.
    listed_anew: Resident,
}

/// Measures.
pub(crate) async fn measure(plan: &Plan, contestants: &[Contestant]) -> Result<Outcome> {
    let control_plane = ControlPlane::start(Options::beside_this_program()?).await?;
    let mut fleet = Fleet { namespace: "storefront", size: 1, replicas: 3 };
    fleet.create(&control_plane).await?;
    let (mut rows, mut details) = (Vec::new(), Vec::new());
    for &size in plan.sizes {
        let before = mem::replace(&mut fleet.size, size);
        fleet.grow(&control_plane, before).await?;
        let scores = compare(&control_plane, &fleet, plan, contestants).await?;
        rows.extend(self::rows(&scores, size));
        details.push(json!({ "deployments": size, "mb": scores.details(|score| *score) }));
    }
    let admin = control_plane.admin().await?;
    let kubernetes = admin.apiserver_version().await?.git_version;
    let bytes = u32::try_from(fleet.average_bytes(&admin).await?).context("a Deployment of gigabytes")?;
    let size = Row::new("memory: average Deployment", Unit::Kilobytes, f64::from(bytes) / 1e3);
    rows.push(size.judged_by(Goal::AtLeast(DEPLOYMENT_KB)));
    let details = json!({
        "managed": plan.managed,
        "settle_ms": plan.settle.as_millis(),
        "deployment_bytes": bytes,
        "beside": details,
    });
    Ok(Outcome { name: "memory", rows, kubernetes, details })
}

async fn compare(
    control_plane: &ControlPlane,
    fleet: &Fleet,
    plan: &Plan,
    contestants: &[Contestant],
) -> Result<Scores<Score>> {
    let mut scores = Scores::of(contestants, Score::default);
    for (contestant, score) in contestants.iter().zip(scores.iter_mut()) {
        say_error(&format!("{} beside {} Deployments …", contestant.name(), fleet.size));
        let options = contestant.options(control_plane, &Scope::Cluster, fleet, plan.managed).await?;
        let mut process = Manager::start(&options).await?;
        process.wait_ready().await?;
        check_seen(&process, fleet).await?;
        time::sleep(plan.settle).await;
        let steady = Resident::read(process.pid())?;
        gone::force(control_plane).await?;
        time::sleep(plan.settle).await;
        let listed_anew = Resident::read(process.pid())?;
        process.check_alive()?;
        if *contestant == Contestant::Ours {
            check_complete(&process.metrics().await?, fleet.size)?;
        }
        process.kill()?;
        *score = Score { steady, listed_anew };
    }
    Ok(scores)
}

/// The rows of what is steady, and of the peak.
fn rows(scores: &Scores<Score>, deployments: usize) -> [Row; 2] {
    let row = |what, figure: fn(&Score) -> f64| {
        scores.row(format!("memory at {deployments}: {what}"), Unit::Megabytes, figure)
    };
    let steady = row("steady", |score| score.steady.now);
    // Rounded up, as nobody reads the rest.
    let most = (PEAK * scores.ours().steady.now * 10.0).ceil() / 10.0;
    let peak = row("peak, with a 410", |score| score.listed_anew.peak);
    let steady = steady
        .judged_by(Goal::Below(GOAL_MB))
        .judged_by(Goal::RatioAtMost(Rival::Go, 0.05))
        .judged_by(Goal::RatioAtMost(Rival::TunedGo, 0.12));
    let beside_baseline = |row: Row| {
        let goal = Goal::RatioAtMost(Rival::Baseline, GOAL_BESIDE_BASELINE);
        row.judged_beside_baseline((deployments >= BASELINE_FROM).then_some(goal))
    };
    [beside_baseline(steady), beside_baseline(peak.judged_by(Goal::Below(most)))]
}

/// Fails unless a contestant that is ready has read the Deployment that sorts last: it would need less.
async fn check_seen(process: &Manager, fleet: &Fleet) -> Result<()> {
    let last = GetDeploymentRequest {
        name: fleet.name(fleet.size - 1),
        namespace: fleet.namespace.to_owned(),
        ..GetDeploymentRequest::default()
    };
    let answer = process.client().await?.get_deployment(last).await?.into_inner();
    ensure!(answer.current_replicas.is_some(), "it is ready and has not read all Deployments");
    Ok(())
}

/// Fails unless the server says that it knows every Deployment, or it would need less.
fn check_complete(metrics: &str, deployments: usize) -> Result<()> {
    let known = metrics.lines().find_map(|line| line.strip_prefix(KNOWN)?.trim().parse::<f64>().ok());
    let known = known.with_context(|| format!("/metrics has no {KNOWN}"))?;
    let expected = f64::from(u32::try_from(deployments)?);
    ensure!((known - expected).abs() < 0.5, "the server knows {known} of {expected} Deployments");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_knows_too_little_is_not_measured() {
        let cases = [
            ("replica_count_manager_deployments 3.0\n", true),
            ("replica_count_manager_deployments 2.0\n", false),
            ("replica_count_manager_deployments_other 3.0\n", false),
            ("", false),
        ];
        for (metrics, expected) in cases {
            assert_eq!(check_complete(metrics, 3).is_ok(), expected, "{metrics}");
        }
    }

    #[test]
    fn a_baseline_has_goals_where_deployments_weigh_more_than_the_program() {
        let scores = |baseline: Option<&str>| {
            let contestants = Contestant::all(baseline.map(Into::into));
            // Ours takes more than the others.
            let mut scores = Scores::of(&contestants, Score::default);
            for (score, megabytes) in scores.iter_mut().zip([50.0, 48.0, 48.0, 48.0]) {
                (score.steady.now, score.listed_anew.peak) = (megabytes, megabytes);
            }
            scores
        };
        for (baseline, deployments, expected) in
            [(Some("program"), 100_000, 2), (Some("program"), 10_000, 0), (None, 100_000, 0)]
        {
            let rows = json!(rows(&scores(baseline), deployments)).to_string();
            let missed = rows.matches(r#"{"goal":{"ratio_at_most":["baseline",1.03]},"met":false}"#).count();
            assert_eq!(missed, expected, "{rows}");
        }
    }
}
