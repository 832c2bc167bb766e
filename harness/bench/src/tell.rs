//! What it costs to tell people: everything drifts at once, beside a server that tells nobody.
//!
//! The two take turns. In each pass somebody changes all counts while no server runs; then the server starts, finds the
//! drifts and repairs them. The one that tells writes Events of Kubernetes and sends notifications.

use std::fs;
use std::ops::Range;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Api, Patch, PatchParams};
use replica_count_testbed::control_plane::{Options, Scope};
use replica_count_testbed::receiver::Receiver;
use replica_count_testbed::{ControlPlane, Manager, manager};
use serde_json::{Value, json};
use tokio::time;

use crate::drift::observer::Observer;
use crate::fleet::Fleet;
use crate::output::say_error;
use crate::resident::Resident;
use crate::results::Outcome;
use crate::server;
use crate::table::{Goal, Rival, Row, Unit};

/// Who changes the counts.
const SOMEBODY: &str = "somebody";
/// The number of concurrent changes.
const CONCURRENCY: usize = 16;
/// Before every drift, so that the changes count as drifts.
const SET_AT: &str = "2026-01-01T00:00:00Z";
/// How long the last notification may take after the last repair: a window, and some attempts.
const TOLD_DEADLINE: Duration = Duration::from_mins(2);
const POLL: Duration = Duration::from_millis(100);
/// The paths of the two receivers.
const PATHS: [&str; 2] = ["/slack/bench", "/hook"];

/// The size and the repetitions of the measurement.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    deployments: usize,
    turns: usize,
}

impl Plan {
    pub(crate) const FULL: Self = Self { deployments: 10_000, turns: 3 };
    pub(crate) const SHORT: Self = Self { deployments: 100, turns: 1 };
}

/// What one pass has shown.
#[derive(Clone, Debug)]
struct Pass {
    /// Repairs a second.
    rate: f64,
    peak_mb: f64,
    /// The most messages that a receiver got.
    messages: usize,
    /// Drifts that are in no message, or not in the metric.
    lost: u64,
}

/// Measures.
pub(crate) async fn measure(plan: &Plan) -> Result<Outcome> {
    let mut control_plane = ControlPlane::start(Options::beside_this_program()?).await?;
    let fleet = Fleet { namespace: "told", size: plan.deployments, replicas: 1 };
    fleet.create(&control_plane).await?;
    let observer = Observer::start(&control_plane, fleet.size, None).await?;
    let mut passes = Passes { control_plane: &control_plane, fleet, observer };
    let (mut quiet, mut telling) = (Vec::new(), Vec::new());
    for turn in 1..=plan.turns {
        for (tells, seen) in [(false, &mut quiet), (true, &mut telling)] {
            say_error(&format!("turn {turn}: {} …", if tells { "tells" } else { "tells nobody" }));
            seen.push(passes.pass(tells).await?);
        }
    }
    control_plane.check_alive()?;
    let kubernetes = control_plane.admin().await?.apiserver_version().await?.git_version;
    let details =
        json!({ "deployments": plan.deployments, "quiet": details(&quiet), "telling": details(&telling) });
    Ok(Outcome { name: "tell", rows: rows(&quiet, &telling), kubernetes, details })
}

fn rows(quiet: &[Pass], telling: &[Pass]) -> Vec<Row> {
    let rate = |passes: &[Pass]| mean(passes.iter().map(|pass| pass.rate));
    let peak = |passes: &[Pass]| passes.iter().map(|pass| pass.peak_mb).fold(0.0, f64::max);
    let messages = telling.iter().map(|pass| pass.messages).max().unwrap_or_default();
    let lost: u64 = telling.iter().map(|pass| pass.lost).sum();
    let number = |number: u64| f64::from(u32::try_from(number).unwrap_or(u32::MAX));
    vec![
        Row::new("tell: repairs", Unit::PerSecond, rate(telling))
            .beside(Rival::Limit, rate(quiet))
            .judged_by(Goal::RatioAtLeast(Rival::Limit, 0.95)),
        Row::new("tell: peak memory", Unit::Megabytes, peak(telling)).beside(Rival::Limit, peak(quiet)),
        Row::new("tell: messages to a receiver", Unit::Times, number(messages as u64))
            .judged_by(Goal::Below(11.0)),
        Row::new("tell: drifts that were lost", Unit::Times, number(lost)).judged_by(Goal::Below(1.0)),
    ]
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = u32::try_from(values.len()).unwrap_or(u32::MAX);
    values.sum::<f64>() / f64::from(count)
}

fn details(passes: &[Pass]) -> Value {
    let pass = |Pass { rate, peak_mb, messages, lost }: &Pass| json!({ "per_second": rate, "peak_mb": peak_mb, "messages": messages, "lost": lost });
    passes.iter().map(pass).collect()
}

struct Passes<'a> {
    control_plane: &'a ControlPlane,
    /// The Deployments, with the count of the last change.
    fleet: Fleet,
    observer: Observer,
}

impl Passes<'_> {
    async fn pass(&mut self, tells: bool) -> Result<Pass> {
        self.change_all().await.context("the drift")?;
        self.fleet.replicas += 1;
        let receiver = Receiver::start(self.control_plane).await?;
        let options = self.options(tells.then_some(&receiver)).await?;
        let mut process = Manager::start(&options).await?;
        let Range { start, end } = self.observer.expect_all(self.fleet.size, self.fleet.replicas).await?;
        let repaired = u32::try_from(self.fleet.size - 1).context("too many")?;
        let drifts = self.fleet.size as u64;
        let counted = counted(&process.metrics().await?)?;
        let told = if tells { told(&receiver, drifts).await } else { drifts };
        let peak_mb = Resident::read(process.pid())?.peak;
        process.check_alive()?;
        let status = process.terminate().await?;
        ensure!(status.success(), "it ended with {status}");
        let received = receiver.received();
        let of = |path: &str| received.iter().filter(|request| request.path == path).count();
        Ok(Pass {
            rate: f64::from(repaired) / (end - start).as_secs_f64(),
            peak_mb,
            messages: PATHS.into_iter().map(of).max().unwrap_or_default(),
            lost: drifts.abs_diff(told) + drifts.abs_diff(counted),
        })
    }

    /// Lets somebody change all counts.
    async fn change_all(&mut self) -> Result<()> {
        self.fleet.replicas += 1;
        let Self { control_plane, fleet, observer } = self;
        let api: Api<Deployment> = Api::namespaced(control_plane.admin().await?, fleet.namespace);
        let parameters = PatchParams { field_manager: Some(SOMEBODY.to_owned()), ..PatchParams::default() };
        let patch = Patch::Merge(json!({ "spec": { "replicas": fleet.replicas } }));
        let names: Vec<_> = (0..fleet.size).map(|number| fleet.name(number)).collect();
        let changes = stream::iter(&names).map(async |name| api.patch_scale(name, &parameters, &patch).await);
        let changes = changes.buffer_unordered(CONCURRENCY).try_for_each(async |_| Ok(()));
        let seen = observer.expect_all(fleet.size, fleet.replicas);
        let (changed, seen) = tokio::join!(changes, seen);
        changed?;
        seen.map(drop)
    }

    /// The options of a server that tells a receiver, or nobody.
    async fn options(&self, receiver: Option<&Receiver>) -> Result<manager::Options> {
        let options = server::options(self.control_plane, &Scope::Cluster).await?;
        options.certificates()?;
        let mut settings = self.fleet.settings(0..self.fleet.size);
        for setting in settings.as_array_mut().context("an array")? {
            setting["setAt"] = SET_AT.into();
        }
        fs::write(options.store(), serde_json::to_string(&settings)?)?;
        Ok(match receiver {
            None => options.argument("--kubernetes-events=false"),
            Some(receiver) => options.argument("--notify-config").argument(self.notify_config(receiver)?),
        })
    }

    fn notify_config(&self, receiver: &Receiver) -> Result<PathBuf> {
        let folder = self.control_plane.folder("notify")?;
        let (url, ca) = (receiver.url(), self.control_plane.certificate_authority());
        fs::write(folder.join("slack-url"), format!("{url}{}", PATHS[0]))?;
        let config = json!({
            "receivers": [
                { "name": "chat", "slack": { "urlFile": "slack-url", "caFile": ca } },
                { "name": "audit", "webhook": { "url": format!("{url}{}", PATHS[1]), "caFile": ca } },
            ],
            "routes": [
                { "name": "chat", "receiver": "chat", "severity": "warning" },
                { "name": "audit", "receiver": "audit" },
            ],
        });
        let path = folder.join("notify.yaml");
        // JSON is YAML.
        fs::write(&path, config.to_string())?;
        Ok(path)
    }
}

/// Waits until messages count as many drifts, and returns how many they count.
async fn told(receiver: &Receiver, drifts: u64) -> u64 {
    let deadline = Instant::now() + TOLD_DEADLINE;
    loop {
        let received = receiver.received();
        let of_webhook = received.iter().filter(|request| request.path == PATHS[1]);
        let told =
            of_webhook.filter_map(|request| request.json()["data"]["counts"]["drifted"].as_u64()).sum();
        if told >= drifts || Instant::now() >= deadline {
            return told;
        }
        time::sleep(POLL).await;
    }
}

/// The number of drifts, according to the server's metrics.
fn counted(metrics: &str) -> Result<u64> {
    let line = metrics.lines().find_map(|line| line.strip_prefix("replica_count_manager_drifts_total "));
    line.and_then(|count| count.trim().parse().ok()).context("/metrics has no drifts_total")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drifts_are_read_from_the_metrics() {
        let metrics = "replica_count_manager_drifts_total_x 1\nreplica_count_manager_drifts_total 7\n";
        assert_eq!(counted(metrics).ok(), Some(7));
        assert!(counted("").is_err());
    }

    #[test]
    fn a_slower_server_misses_its_target() {
        let pass = |rate, messages, lost| Pass { rate, peak_mb: 30.0, messages, lost };
        let rows = rows(&[pass(1000.0, 0, 0), pass(2000.0, 0, 0)], &[pass(1500.0, 2, 0)]);
        assert_eq!(rows.len(), 4);
        assert!((mean([1.0, 2.0].into_iter()) - 1.5).abs() < 1e-9);
    }
}
