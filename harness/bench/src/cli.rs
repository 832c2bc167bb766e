//! How fast `kubectl replicas` is: many counts from a file beside a shell loop over grpcurl, how soon its help is there,
//! and what getting one workload costs beside the way to the server.

mod distance;

use std::fmt::Write as _;
use std::fs;
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use distance::Distance;
use replica_count_testbed::control_plane::{Options, Scope};
use replica_count_testbed::manager::SERVER_NAME;
use replica_count_testbed::{ControlPlane, Manager, workspace};
use serde_json::json;
use tokio::task;

use crate::fleet::Fleet;
use crate::latencies::{Latencies, median};
use crate::progress::Progress;
use crate::results::Outcome;
use crate::server;
use crate::table::{Goal, Row, Unit};

/// How many times the rate of the loop `apply` must have.
const GOAL_RATE: f64 = 20.0;
/// How soon the first byte of the help must be there, in milliseconds.
const GOAL_HELP_MS: f64 = 15.0;
/// At most two round trips, and the time of this machine beside them.
const GOAL_ROUND_TRIPS: f64 = 2.5;
/// The way to the server and the way back, once each.
const ROUND_TRIP: Duration = Duration::from_millis(200);

/// The amount of measurements.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Entries of the file.
    entries: usize,
    /// Entries that the loop sets, because it is slow.
    looped: usize,
    /// How often each is measured.
    turns: usize,
    /// How often the help and one workload are shown in a turn.
    shown: usize,
}

impl Plan {
    pub(crate) const FULL: Self = Self { entries: 1_000, looped: 100, turns: 5, shown: 20 };
    pub(crate) const SHORT: Self = Self { entries: 20, looped: 3, turns: 1, shown: 2 };
}

/// Measures.
pub(crate) async fn measure(plan: &Plan) -> Result<Outcome> {
    let control_plane = ControlPlane::start(Options::beside_this_program()?).await?;
    let fleet = Fleet { namespace: "cli", size: plan.entries, replicas: 3 };
    fleet.create(&control_plane).await?;
    let options = server::options(&control_plane, &Scope::Cluster).await?;
    let mut manager = Manager::start(&options).await?;
    manager.wait_ready().await?;
    let distance = Distance::start(manager.grpc_address(), ROUND_TRIP / 2).await?;
    let user = User::new(&control_plane, &manager)?;
    let figures = task::block_in_place(|| user.measure(plan, &fleet, distance.address()))?;
    manager.check_alive()?;
    let kubernetes = control_plane.admin().await?.apiserver_version().await?.git_version;
    Ok(figures.outcome(plan, kubernetes))
}

/// Somebody with a shell.
struct User {
    folder: PathBuf,
    kubectl_replicas: PathBuf,
    grpcurl: PathBuf,
    server: SocketAddr,
    /// The flags of each for the certificates.
    certificates: [Vec<String>; 2],
    kubeconfig: PathBuf,
}

impl User {
    /// Builds grpcurl if it is missing.
    fn new(control_plane: &ControlPlane, manager: &Manager) -> Result<Self> {
        let files = manager.certificates().files("client");
        let flags = |names: [&str; 3]| -> Vec<String> {
            let paths = [&files.authority, &files.certificate, &files.key];
            let pairs = names.into_iter().zip(paths);
            pairs.flat_map(|(name, path)| [name.to_owned(), path.display().to_string()]).collect()
        };
        Ok(Self {
            folder: control_plane.folder("user")?,
            kubectl_replicas: workspace::built_binary("kubectl-replicas", "replica-count-cli")?,
            grpcurl: task::block_in_place(|| control_plane.grpcurl())?,
            server: manager.grpc_address(),
            certificates: [flags(["--ca", "--cert", "--key"]), flags(["-cacert", "-cert", "-key"])],
            kubeconfig: control_plane.admin_kubeconfig().to_owned(),
        })
    }

    fn measure(&self, plan: &Plan, fleet: &Fleet, far: SocketAddr) -> Result<Figures> {
        let mut figures = Figures::default();
        let mut progress = Progress::new("turns of apply and of a loop over grpcurl", plan.turns);
        for turn in 0..plan.turns {
            // Each changes every count that it sets. Nothing is repaired meanwhile that would not be anyway.
            let count = i32::try_from(4 + 2 * turn)?;
            figures.applied.push(self.apply(fleet, count)?);
            figures.looped.push(self.run_loop(plan.looped, fleet, count + 1)?);
            for _ in 0..plan.shown {
                figures.help.push(self.help()?);
                let near = self.get(self.server, fleet)?;
                figures
                    .round_trips
                    .push((self.get(far, fleet)?.saturating_sub(near)).div_duration_f64(ROUND_TRIP));
                figures.near.push(near);
            }
            progress.advance();
        }
        progress.finish();
        Ok(figures)
    }

    /// Entries a second by `apply -f`.
    fn apply(&self, fleet: &Fleet, count: i32) -> Result<f64> {
        let file = self.folder.join("counts.yaml");
        let mut text = String::new();
        for number in 0..fleet.size {
            let (name, namespace) = (fleet.name(number), fleet.namespace);
            writeln!(text, "- {{name: {name}, namespace: {namespace}, replicas: {count}}}")?;
        }
        fs::write(&file, text)?;
        let mut command = self.command(self.server, &["apply", "-q"]);
        rate(fleet.size, command.arg("-f").arg(file))
    }

    /// Sets a second by a loop of a shell.
    fn run_loop(&self, sets: usize, fleet: &Fleet, count: i32) -> Result<f64> {
        let names = (0..sets).map(|number| fleet.name(number)).collect::<Vec<_>>().join(" ");
        let script = format!(
            "set -e; for name in {names}; do \
             \"$0\" \"$@\" -d '{{\"Namespace\": \"{}\", \"Name\": \"'$name'\", \"Replicas\": {count}}}' \
             -import-path . -proto deployments.proto {} proto.DeploymentsService/SetDeployment >/dev/null; done",
            fleet.namespace, self.server
        );
        let mut command = Command::new("sh");
        command.args(["-c", &script]).arg(&self.grpcurl).args(&self.certificates[1]);
        command.args(["-authority", SERVER_NAME]);
        rate(sets, command.current_dir(workspace::root()?.join("proto")))
    }

    /// From the start of the process to the first byte of its help.
    fn help(&self) -> Result<Duration> {
        let mut command = Command::new(&self.kubectl_replicas);
        command.arg("--help").stdout(Stdio::piped());
        let started = Instant::now();
        let mut child = command.spawn()?;
        let mut out = child.stdout.take().context("its standard output is a pipe")?;
        let read = out.read(&mut [0])?;
        let took = started.elapsed();
        std::io::copy(&mut out, &mut std::io::sink())?;
        ensure!(read == 1 && child.wait()?.success(), "--help failed");
        Ok(took)
    }

    /// How long it takes to show one workload.
    fn get(&self, server: SocketAddr, fleet: &Fleet) -> Result<Duration> {
        let mut command = self.command(server, &["get", "-n", fleet.namespace]);
        command.arg(fleet.name(0)).stdout(Stdio::null());
        let started = Instant::now();
        ensure!(command.status()?.success(), "get failed");
        Ok(started.elapsed())
    }

    fn command(&self, server: SocketAddr, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.kubectl_replicas);
        // A profile of whoever runs this says nothing here.
        command.env_clear().env("HOME", &self.folder);
        command.args(arguments).args(&self.certificates[0]).args(["--server-name", SERVER_NAME]);
        command.arg("--server").arg(server.to_string()).arg("--kubeconfig").arg(&self.kubeconfig);
        command
    }
}

/// How many of something a command does in a second.
fn rate(count: usize, command: &mut Command) -> Result<f64> {
    let started = Instant::now();
    let output = command.output()?;
    let took = started.elapsed().as_secs_f64();
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(f64::from(u32::try_from(count)?) / took)
}

/// What has been measured.
#[derive(Debug, Default)]
struct Figures {
    /// Entries a second, by turn.
    applied: Vec<f64>,
    looped: Vec<f64>,
    help: Latencies,
    near: Latencies,
    round_trips: Vec<f64>,
}

impl Figures {
    fn outcome(&self, plan: &Plan, kubernetes: String) -> Outcome {
        let (applied, looped) = (median(&self.applied), median(&self.looped));
        let rows = vec![
            Row::new("cli: entries by apply -f", Unit::PerSecond, applied),
            Row::new("cli: the same by a loop over grpcurl", Unit::PerSecond, looped),
            Row::new("cli: the one in rates of the other", Unit::Times, applied / looped)
                .judged_by(Goal::AtLeast(GOAL_RATE)),
            Row::new("cli: from the start to the help, p50", Unit::Milliseconds, self.help.percentile_ms(50))
                .judged_by(Goal::Below(GOAL_HELP_MS)),
            Row::new("cli: get of one workload, p50", Unit::Milliseconds, self.near.percentile_ms(50)),
            Row::new("cli: its round trips, once connected", Unit::Times, median(&self.round_trips))
                .judged_by(Goal::Below(GOAL_ROUND_TRIPS)),
        ];
        let details = json!({
            "entries": plan.entries,
            "entries_of_the_loop": plan.looped,
            "applied_per_second": self.applied,
            "looped_per_second": self.looped,
            "help_ms": self.help.to_ms(),
            "get_ms": self.near.to_ms(),
            "round_trips": self.round_trips,
        });
        Outcome { name: "cli", rows, kubernetes, details }
    }
}
