//! Measures the latency and the throughput of durable Sets, compared with the limits of the disk.

mod bare_writer;
mod disk;

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bare_writer::BareWriter;
use disk::Disk;
use replica_count_testbed::control_plane::{Options, Scope};
use replica_count_testbed::{ControlPlane, Manager, manager};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fleet::Fleet;
use crate::latencies::{Latencies, median};
use crate::load::{Answered, Call, Load};
use crate::output::say_error;
use crate::peer::Peer;
use crate::progress::Progress;
use crate::results::Outcome;
use crate::server;
use crate::table::{Goal, Rival, Row, Unit};

/// The limit of a Set's latency: this multiple of the disk's, or this many milliseconds more, whichever is greater.
const GOAL_RATIO: f64 = 1.15;
const GOAL_MORE_MS: f64 = 1.0;

/// The required share of the best possible throughput of many clients.
const GOAL_MANY: f64 = 0.8;

/// The number of "many" clients.
const MANY: u8 = 64;

/// The number of Deployments, the targets of the Sets. The other settings are for Deployments that do not exist.
const DEPLOYMENTS: usize = 100;

/// The in-memory file system of every Linux.
const MEMORY: &str = "/dev/shm";

/// The amount of measurements.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The number of turns of each contestant, after one that is not measured.
    turns: usize,
    /// The length of a turn.
    turn: Duration,
    /// The number of file replacements by the bare writer in a turn.
    replacements: usize,
    /// Whether the disk may be in memory.
    any_disk: bool,
}

impl Plan {
    pub(crate) const FULL: Self =
        Self { turns: 5, turn: Duration::from_secs(1), replacements: 100, any_disk: false };
    pub(crate) const SHORT: Self =
        Self { turns: 1, turn: Duration::from_millis(100), replacements: 5, any_disk: true };
}

/// The numbers of stored settings, and the names of their rows.
const SIZES: [(usize, &str, &str); 2] = [
    (100, "sets: among 100 settings, p50", "sets: among 100, by 64 clients"),
    (10_000, "sets: among 10,000 settings, p50", "sets: among 10,000, by 64 clients"),
];

pub(crate) async fn measure(plan: &Plan) -> Result<Outcome> {
    let control_plane = ControlPlane::start(Options::beside_this_program()?).await?;
    let disk = Disk::of(&control_plane.folder("disk")?)?;
    ensure!(plan.any_disk || !disk.is_memory(), "the disk is {disk}: set TMPDIR to a folder on a real one");
    say_error(&format!("the disk is {disk}"));
    let fleet = Fleet { namespace: "storefront", size: DEPLOYMENTS, replicas: 3 };
    fleet.create(&control_plane).await?;
    let (mut rows, mut by_size) = (Vec::new(), Vec::new());
    for (settings, one, many) in SIZES {
        let figures = measure_with(settings, plan, &control_plane, &fleet).await?;
        rows.extend(figures.rows(one, many));
        by_size.push(figures.details());
    }
    let details = json!({ "disk": disk.to_string(), "by_size": by_size });
    let kubernetes = control_plane.admin().await?.apiserver_version().await?.git_version;
    Ok(Outcome { name: "sets", rows, kubernetes, details })
}

/// A server and its clients.
struct Contestant {
    server: Manager,
    single: Load,
    many: Load,
}

impl Contestant {
    async fn start(options: &manager::Options) -> Result<Self> {
        let mut server = Manager::start(options).await?;
        server.wait_ready().await?;
        let connect = |clients| Load::connect(server.grpc_address(), server.certificates(), clients, 1);
        let (single, many) = (connect(1).await?, connect(MANY.into()).await?);
        Ok(Self { server, single, many })
    }

    /// The latencies of a single client's Sets.
    async fn one(&self, plan: &Plan, fleet: &Fleet) -> Result<Latencies> {
        Ok(self.single.run(Call::Set, fleet, plan.turn).await?.latencies)
    }

    /// The Sets per second of many clients.
    async fn many(&self, plan: &Plan, fleet: &Fleet) -> Result<f64> {
        let Answered { latencies, took } = self.many.run(Call::Set, fleet, plan.turn).await?;
        Ok(f64::from(u32::try_from(latencies.len())?) / took.as_secs_f64())
    }
}

/// Measures with this number of settings.
async fn measure_with(
    settings: usize,
    plan: &Plan,
    control_plane: &ControlPlane,
    fleet: &Fleet,
) -> Result<Figures> {
    let options = server::options(control_plane, &Scope::Cluster).await?;
    write_settings(&options.store(), settings, fleet)?;
    let memory = TempDir::with_prefix_in("replica-count-bench-", MEMORY)?;
    let file_in_memory = memory.path().join("replicas.json");
    fs::copy(options.store(), &file_in_memory)?;
    let options_in_memory = server::options(control_plane, &Scope::Cluster).await?;
    let options_in_memory = options_in_memory.argument("--file-path").argument(&file_in_memory);

    let options_of_go = Peer::TunedGo.options(control_plane, &Scope::Cluster).await?;
    fs::copy(options.store(), options_of_go.store())?;

    let mut ours = Contestant::start(&options).await?;
    let mut in_memory = Contestant::start(&options_in_memory).await?;
    let mut go = Contestant::start(&options_of_go).await?;
    for contestant in [&ours, &in_memory, &go] {
        contestant.one(plan, fleet).await?;
        contestant.many(plan, fleet).await?;
    }
    let bytes = usize::try_from(fs::metadata(options.store())?.len())?;
    let writer = BareWriter::new(control_plane.folder("bare-writer")?, bytes);
    let mut progress = Progress::new(format!("turns of Sets among {settings} settings"), plan.turns);
    let mut figures = Figures { settings, bytes, ..Figures::default() };
    for _ in 0..plan.turns {
        figures.ours.extend(&ours.one(plan, fleet).await?);
        figures.limit.extend(&writer.clone().run(plan.replacements).await?);
        figures.many.push(ours.many(plan, fleet).await?);
        figures.many_in_memory.push(in_memory.many(plan, fleet).await?);
        figures.go.extend(&go.one(plan, fleet).await?);
        figures.go_many.push(go.many(plan, fleet).await?);
        progress.advance();
    }
    progress.finish();
    for contestant in [&mut ours, &mut in_memory, &mut go] {
        contestant.server.check_alive()?;
    }
    Ok(figures)
}

/// Writes a settings file like the server's, with the Deployments of the fleet and others that do not exist.
fn write_settings(path: &Path, settings: usize, fleet: &Fleet) -> Result<()> {
    let all = Fleet { size: settings, ..fleet.clone() };
    let entry = |number| {
        json!({
            "name": all.name(number), "namespace": all.namespace, "replicas": all.replicas,
            "setBy": "client", "setAt": "2026-01-02T03:04:05.123456789Z",
        })
    };
    let entries: Vec<Value> = (0..settings).map(entry).collect();
    fs::write(path, serde_json::to_vec(&entries)?).with_context(|| format!("cannot write {}", path.display()))
}

/// The results for one number of settings.
#[derive(Debug, Default)]
struct Figures {
    settings: usize,
    /// The size of the file.
    bytes: usize,
    /// Sets of a single client.
    ours: Latencies,
    /// Replacements of a file of this size.
    limit: Latencies,
    /// Sets per second of many clients, by turn.
    many: Vec<f64>,
    /// The same in memory, where a sync costs nothing.
    many_in_memory: Vec<f64>,
    /// Both for the Go operator, on the disk. Its tuning does not affect them.
    go: Latencies,
    go_many: Vec<f64>,
}

impl Figures {
    fn rows(&self, one: &'static str, many: &'static str) -> [Row; 2] {
        let [ours_ms, limit_ms, go_ms] =
            [&self.ours, &self.limit, &self.go].map(|latencies| latencies.percentile_ms(50));
        let most = GOAL_RATIO.max((limit_ms + GOAL_MORE_MS) / limit_ms);
        [
            Row::new(one, Unit::Milliseconds, ours_ms)
                .beside(Rival::Limit, limit_ms)
                .beside(Rival::TunedGo, go_ms)
                .judged_by(Goal::RatioAtMost(Rival::Limit, most)),
            Row::new(many, Unit::PerSecond, median(&self.many))
                .beside(Rival::Limit, self.most_of_many())
                .beside(Rival::TunedGo, median(&self.go_many))
                .judged_by(Goal::RatioAtLeast(Rival::Limit, GOAL_MANY)),
        ]
    }

    /// The best possible throughput: every client as fast as a single one, or no waiting for the disk, whichever is
    /// less.
    fn most_of_many(&self) -> f64 {
        let each_as_one = f64::from(MANY) * 1000.0 / self.ours.percentile_ms(50);
        each_as_one.min(median(&self.many_in_memory))
    }

    fn details(&self) -> Value {
        json!({
            "settings": self.settings,
            "file_bytes": self.bytes,
            "one_client_ms": self.ours.to_ms(),
            "limit_ms": self.limit.to_ms(),
            "clients": MANY,
            "sets_per_second": self.many,
            "sets_per_second_in_memory": self.many_in_memory,
            "go_one_client_ms": self.go.to_ms(),
            "go_sets_per_second": self.go_many,
        })
    }
}
