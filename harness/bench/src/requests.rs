//! Measures the CPU time that requests cost, compared with a server that only gives fixed answers.

pub(crate) mod bare_server;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use bare_server::{Answers, BareServer};
use replica_count_api::proto::{GetDeploymentRequest, ListDeploymentsRequest, SetDeploymentRequest};
use replica_count_testbed::control_plane::{Options, Scope};
use replica_count_testbed::manager::Certificates;
use replica_count_testbed::{ControlPlane, Manager, manager};
use serde_json::{Map, Value, json};

use crate::contestant::Contestant;
use crate::cpu_time::CpuTime;
use crate::fleet::Fleet;
use crate::load::{Call, Load};
use crate::progress::Progress;
use crate::results::Outcome;
use crate::server;
use crate::table::{Goal, Rival, Row, Unit};

/// The required throughput of Gets per CPU time, relative to the bare server.
const GOAL: f64 = 0.85;

/// The same for every call, relative to the tuned Go operator.
const GOAL_BESIDE_GO: f64 = 1.8;

/// The number of connections to each server, and of requests in flight on each.
const CONNECTIONS: usize = 4;
const REQUESTS_EACH: usize = 16;

/// The amount of measurements.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The number of Deployments, all managed.
    deployments: usize,
    /// The number of turns of each contestant with each call.
    turns: usize,
    /// The length of a turn. A first turn is not measured.
    turn: Duration,
}

impl Plan {
    pub(crate) const FULL: Self = Self { deployments: 500, turns: 5, turn: Duration::from_millis(1500) };
    pub(crate) const SHORT: Self = Self { deployments: 20, turns: 1, turn: Duration::from_millis(200) };
}

const CALLS: [Call; 3] = [Call::Get, Call::List, Call::Set];

/// A server under load.
struct Loaded {
    name: &'static str,
    /// `None` for our server.
    rival: Option<Rival>,
    pid: u32,
    load: Load,
}

async fn connect(address: SocketAddr, certificates: &Certificates) -> Result<Load> {
    Load::connect(address, certificates, CONNECTIONS, REQUESTS_EACH).await
}

/// The number of answers, and the CPU time they took.
#[derive(Debug, Default)]
struct Score {
    answered: u32,
    used: Duration,
    turns_per_cpu_second: Vec<f64>,
}

impl Score {
    fn add(&mut self, answered: u32, used: Duration) {
        self.answered += answered;
        self.used += used;
        self.turns_per_cpu_second.push(f64::from(answered) / used.as_secs_f64());
    }

    fn per_cpu_second(&self) -> f64 {
        f64::from(self.answered) / self.used.as_secs_f64()
    }

    fn details(&self) -> Value {
        json!({
            "answered": self.answered,
            "cpu_s": self.used.as_secs_f64(),
            "turns_per_cpu_second": self.turns_per_cpu_second,
        })
    }
}

/// Measures.
pub(crate) async fn measure(plan: &Plan, contestants: &[Contestant]) -> Result<Outcome> {
    let control_plane = ControlPlane::start(Options::beside_this_program()?).await?;
    let fleet = Fleet { namespace: "storefront", size: plan.deployments, replicas: 3 };
    fleet.create(&control_plane).await?;
    let (mut servers, mut loaded, mut answers) = (Vec::new(), Vec::new(), Vec::new());
    for contestant in contestants {
        let server =
            start(&contestant.options(&control_plane, &Scope::Cluster, &fleet, 0).await?, &fleet).await?;
        let load = connect(server.grpc_address(), server.certificates()).await?;
        loaded.push(Loaded { name: contestant.name(), rival: contestant.rival(), pid: server.pid(), load });
        answers.push(self::answers(&server, &fleet).await?);
        servers.push(server);
    }
    for (theirs, contestant) in answers.iter().zip(contestants) {
        let is_same = theirs.counts() == answers[0].counts();
        ensure!(is_same, "{} answers something else: {theirs:?}", contestant.name());
    }
    let certificates = servers[0].certificates();
    let bare = BareServer::start(certificates, &answers[0], &control_plane.folder("bare-server")?)?;
    let load = connect(bare.address(), certificates).await?;
    loaded.push(Loaded { name: "limit", rival: Some(Rival::Limit), pid: bare.pid(), load });
    let mut progress = Progress::new("turns of requests", CALLS.len() * (plan.turns + 1) * loaded.len());
    let (mut rows, mut details) = (Vec::new(), Map::new());
    for call in CALLS {
        let scores = play(plan, call, &fleet, &loaded, &mut progress).await?;
        rows.push(row(plan, call, &loaded, &scores));
        let scores = loaded.iter().zip(&scores);
        let scores = scores.map(|(server, score)| (server.name.to_owned(), score.details()));
        details.insert(format!("{call:?}"), scores.collect::<Map<_, _>>().into());
    }
    progress.finish();
    for server in &mut servers {
        server.check_alive()?;
    }
    details.insert("deployments".to_owned(), json!(plan.deployments));
    details.insert("connections".to_owned(), json!(CONNECTIONS));
    details.insert("requests_each".to_owned(), json!(REQUESTS_EACH));
    let kubernetes = control_plane.admin().await?.apiserver_version().await?.git_version;
    Ok(Outcome { name: "requests", rows, kubernetes, details: details.into() })
}

/// Starts a server and makes it manage the whole fleet.
async fn start(options: &manager::Options, fleet: &Fleet) -> Result<Manager> {
    let mut server = Manager::start(options).await?;
    server.wait_ready().await?;
    server::manage(&server, fleet, fleet.size).await?;
    Ok(server)
}

/// Has the servers take turns with a call.
async fn play(
    plan: &Plan,
    call: Call,
    fleet: &Fleet,
    loaded: &[Loaded],
    progress: &mut Progress,
) -> Result<Vec<Score>> {
    let mut scores: Vec<Score> = loaded.iter().map(|_| Score::default()).collect();
    for turn in 0..=plan.turns {
        for (server, score) in loaded.iter().zip(&mut scores) {
            let before = CpuTime::read(server.pid)?;
            let answered = server.load.run(call, fleet, plan.turn).await?.latencies.len();
            let used = CpuTime::read(server.pid)?.since(&before);
            if turn > 0 {
                score.add(u32::try_from(answered)?, used);
            }
            progress.advance();
        }
    }
    Ok(scores)
}

fn row(plan: &Plan, call: Call, loaded: &[Loaded], scores: &[Score]) -> Row {
    let what = match call {
        Call::Get => "requests: Get".to_owned(),
        Call::List => format!("requests: List of {}", plan.deployments),
        Call::Set => "requests: Set".to_owned(),
    };
    let ours = Row::new(what, Unit::PerCpuSecond, scores[0].per_cpu_second());
    let row = loaded.iter().zip(scores).fold(ours, |row, (server, score)| match server.rival {
        Some(rival) => row.beside(rival, score.per_cpu_second()),
        None => row,
    });
    let row = match call {
        Call::Get => row.judged_by(Goal::RatioAtLeast(Rival::Limit, GOAL)),
        Call::List | Call::Set => row,
    };
    row.judged_by(Goal::RatioAtLeast(Rival::TunedGo, GOAL_BESIDE_GO))
}

/// The server's answers, for the bare server to repeat.
async fn answers(manager: &Manager, fleet: &Fleet) -> Result<Answers> {
    let mut client = manager.client().await?;
    let (name, namespace) = (fleet.name(0), fleet.namespace.to_owned());
    let set = SetDeploymentRequest {
        name: name.clone(),
        namespace: namespace.clone(),
        replicas: Some(fleet.replicas),
        ..SetDeploymentRequest::default()
    };
    Ok(Answers {
        set: client.set_deployment(set).await?.into_inner(),
        get: client
            .get_deployment(GetDeploymentRequest { name, namespace, ..GetDeploymentRequest::default() })
            .await?
            .into_inner(),
        list: client.list_deployments(ListDeploymentsRequest::default()).await?.into_inner(),
    })
}
