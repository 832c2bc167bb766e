//! How much memory the whole server takes beside many Deployments that are not its own.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use replica_count_testbed::ControlPlane;
use replica_count_testbed::control_plane::Options;
use serde_json::json;
use tokio::time;

use crate::fleet::Fleet;
use crate::output::say_error;
use crate::results::Outcome;
use crate::table::{Goal, Row, Unit};
use crate::{machine, server};

/// How much is created, and how long is waited.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    deployments: usize,
    managed: usize,
    /// From the last change until the memory counts as steady.
    settle: Duration,
}

impl Plan {
    pub(crate) const FULL: Self = Self { deployments: 10_000, managed: 200, settle: Duration::from_secs(15) };
    pub(crate) const SHORT: Self = Self { deployments: 100, managed: 20, settle: Duration::from_secs(1) };
}

/// The most that the server may take, in MB.
const GOAL_MB: f64 = 40.0;

/// The metric that counts the Deployments that the server knows.
const KNOWN: &str = "replica_count_manager_deployments ";

/// The least that a Deployment weighs, in kB, or the measurement would flatter.
const DEPLOYMENT_KB: f64 = 3.0;

/// Measures.
pub(crate) async fn measure(plan: &Plan) -> Result<Outcome> {
    let control_plane = ControlPlane::start(Options::beside_this_program()?).await?;
    let admin = control_plane.admin().await?;
    let fleet = Fleet { namespace: "storefront", size: plan.deployments, replicas: 3 };
    fleet.create(&control_plane).await?;
    let average = u32::try_from(fleet.average_bytes(&admin).await?).context("a Deployment of gigabytes")?;

    let mut manager = server::start(&control_plane).await?;
    server::manage(&manager, &fleet, plan.managed).await?;
    say_error(&format!("letting the server settle for {} s …", plan.settle.as_secs()));
    time::sleep(plan.settle).await;
    manager.check_alive()?;
    check_complete(&manager.metrics().await?, plan.deployments)?;
    let resident = Resident::read(manager.pid())?;

    let size = f64::from(average) / 1e3;
    let rows = vec![
        Row::new("memory: resident, steady", Unit::Megabytes, resident.now).judged_by(Goal::Below(GOAL_MB)),
        Row::new("memory: resident, peak", Unit::Megabytes, resident.peak),
        Row::new("memory: average Deployment", Unit::Kilobytes, size).judged_by(Goal::AtLeast(DEPLOYMENT_KB)),
    ];
    let details = json!({
        "deployments": plan.deployments,
        "managed": plan.managed,
        "settle_seconds": plan.settle.as_secs(),
        "deployment_bytes": average,
        "resident_mb": resident.now,
        "resident_anonymous_mb": resident.anonymous,
        "resident_file_mb": resident.file,
        "resident_peak_mb": resident.peak,
    });
    let kubernetes = admin.apiserver_version().await?.git_version;
    Ok(Outcome { name: "memory", rows, kubernetes, details })
}

/// Fails unless the server says that it knows every Deployment: one that does not would need less.
fn check_complete(metrics: &str, deployments: usize) -> Result<()> {
    let known = metrics.lines().find_map(|line| line.strip_prefix(KNOWN)?.trim().parse::<f64>().ok());
    let known = known.with_context(|| format!("/metrics has no {KNOWN}"))?;
    let expected = f64::from(u32::try_from(deployments)?);
    ensure!((known - expected).abs() < 0.5, "the server knows {known} of {expected} Deployments");
    Ok(())
}

/// What the kernel says of the memory of a process, in MB.
#[derive(Clone, Copy, Debug)]
struct Resident {
    now: f64,
    peak: f64,
    /// The part that is heap and stacks.
    anonymous: f64,
    /// The part that is code, which others may share.
    file: f64,
}

impl Resident {
    fn read(pid: u32) -> Result<Self> {
        let path = format!("/proc/{pid}/status");
        let read = |key: &str| megabytes(&machine::entry(&path, key)?);
        Ok(Self {
            now: read("VmRSS")?,
            peak: read("VmHWM")?,
            anonymous: read("RssAnon")?,
            file: read("RssFile")?,
        })
    }
}

/// Reads what the kernel calls kB and means 1,024 bytes with.
fn megabytes(text: &str) -> Result<f64> {
    let kibibytes: u32 = text
        .strip_suffix(" kB")
        .and_then(|number| number.parse().ok())
        .with_context(|| format!("{text:?} is not a number of kB"))?;
    Ok(f64::from(kibibytes) * 1024.0 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_memory_of_this_process() {
        let resident = Resident::read(std::process::id()).expect("on Linux");
        assert!(resident.now > 0.0 && resident.peak >= resident.now, "{resident:?}");
    }

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
    fn knows_the_unit_of_the_kernel() {
        assert!((megabytes("1000 kB").expect("valid") - 1.024).abs() < 1e-9);
        for text in ["1000", "1000 MB", "kB", "-1 kB"] {
            assert!(megabytes(text).is_err(), "{text}");
        }
    }
}
