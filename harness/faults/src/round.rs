//! A round: everything of one schedule, and the judgement.

use std::cell::Cell;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use fastrand::Rng;
use futures_util::future::{join_all, try_join_all};
use replica_count_api::proto::{self, DeploymentState};
use replica_count_testbed::FaultProxy;
use replica_count_testbed::control_plane::Scope;
use replica_count_testbed::fault_proxy::Plan;
use replica_count_testbed::manager::Options;
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::watch;
use tokio::time::{self, Instant};

use crate::arrival::Arrivals;
use crate::certificate_files::CertificateFiles;
use crate::cluster_changes::{ClusterChanges, NEW};
use crate::history::Asked;
use crate::load::Clients;
use crate::nemesis::Place;
use crate::oracle::{self, Evidence, Writes};
use crate::patience::Verdict;
use crate::schedule::{Blow, CONVERGENCE, Load, Schedule};
use crate::server::{Access, Server};
use crate::stage::Stage;
use crate::strace::{Injection, Strace};
use crate::trace::{Deed, Line, Note, Trace};
use crate::{disk, script};

const POLL: Duration = Duration::from_millis(20);

/// How a round ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) trace: PathBuf,
    pub(crate) lines: Vec<Line>,
    /// The writes that the server sent, and how many of them succeeded.
    pub(crate) writes: Writes,
    /// What the oracles say.
    pub(crate) wrong: Vec<String>,
    /// How long it took from the end of all faults until everything was as desired.
    pub(crate) converged: Option<Duration>,
}

/// Plays a round. An error says that it could not be played.
pub(crate) async fn play(stage: &Stage, name: &str, schedule: &Schedule) -> Result<Outcome> {
    let trace = Arc::new(Trace::create(stage.trace(name))?);
    trace.note(Note::Schedule(Box::new(schedule.clone())));
    let mut wrong = break_disks(schedule, &trace).await;
    let control_plane = stage.control_plane();
    let namespace = control_plane.namespace("faults").await?;
    let names: Vec<String> = (0..schedule.targets()).map(|n| format!("web-{n}")).collect();
    // A connection each: a few at a time.
    for some in names.chunks(8) {
        try_join_all(some.iter().map(|name| control_plane.deployment(&namespace, name, NEW))).await?;
    }

    let observer = Arc::clone(&trace);
    let proxy = FaultProxy::start(
        control_plane,
        schedule.encodings,
        plan(schedule),
        Box::new(move |entry| observer.note(Note::Proxy(entry))),
    )
    .await?;
    let kubeconfig = proxy.manager_kubeconfig(control_plane, &Scope::Cluster).await?;
    let folder = control_plane.folder("faults")?;
    let options = Options::beside_this_program(&kubeconfig, &folder)?;
    let certificate_files = Arc::new(CertificateFiles::new(&options, &folder)?);
    let server = Server::start(options, Arc::clone(&certificate_files), Arc::clone(&trace)).await?;
    let options = server.options().clone();
    let changes = ClusterChanges::new(control_plane, &namespace, &trace).await?;
    let clients = Clients::new(&namespace, &trace);
    let place = Place {
        namespace: &namespace,
        names: &names,
        options: &options,
        certificate_files: &certificate_files,
        changes: &changes,
        clients: &clients,
    };
    let round = Round { schedule, place, trace: &trace, is_struck: Cell::new(false) };
    let converged = round.run(server, proxy, &mut wrong).await?;

    let lines = trace.lines();
    let histories = clients.histories();
    let evidence = Evidence { lines: &lines, histories: &histories, deviations: changes.deviations() };
    wrong.extend(oracle::judge(&evidence));
    for wrong in &wrong {
        trace.note(Note::Wrong(wrong.clone()));
    }
    let writes = oracle::writes(&lines);
    let lines = trace.lines();
    Ok(Outcome { writes, trace: trace.path().to_owned(), lines, wrong, converged })
}

/// Tries the store on simulated disks; returns what is wrong.
async fn break_disks(schedule: &Schedule, trace: &Trace) -> Vec<String> {
    let mut wrong = Vec::new();
    for n in 0..schedule.disks {
        match disk::drawn(schedule.seed.wrapping_add(n)).await {
            Ok(faults) => faults.into_iter().for_each(|fault| trace.note(Note::Disk(fault.to_owned()))),
            Err(error) => wrong.push(format!("disk {n}: {error}")),
        }
    }
    wrong
}

fn plan(schedule: &Schedule) -> Plan {
    let (seed, faults) = (schedule.seed, schedule.faults.clone());
    let arrivals: Mutex<Arrivals> = Mutex::default();
    Box::new(move |ordinal, kind, path| {
        let arrival = arrivals.lock().unwrap_or_else(PoisonError::into_inner).arrive(ordinal, kind, path);
        faults.fault(seed, &arrival)
    })
}

/// What happens while the server runs.
struct Round<'a> {
    schedule: &'a Schedule,
    place: Place<'a>,
    trace: &'a Trace,
    /// Whether the blow of the schedule was struck.
    is_struck: Cell<bool>,
}

impl Round<'_> {
    /// Returns how long the convergence took.
    async fn run(
        &self,
        mut server: Server,
        mut proxy: FaultProxy,
        wrong: &mut Vec<String>,
    ) -> Result<Option<Duration>> {
        let strace = self.attach(&mut server).await?;
        {
            let mut load = std::pin::pin!(self.load(server.access()));
            let mut blow = std::pin::pin!(self.wait_for_blow());
            let mut poll = time::interval(POLL);
            loop {
                tokio::select! {
                    disturbed = &mut load => break wrong.extend(disturbed?.err()),
                    ordinal = proxy.crash() => server.crash(&format!("at request {ordinal}")).await?,
                    () = &mut blow, if !self.is_struck.get() => self.strike(&mut server).await?,
                    _ = poll.tick() => self.look_after(&mut server, wrong).await?,
                }
            }
        }
        if strace.map(Strace::detach).transpose()?.unwrap_or_default() {
            self.struck();
        }
        self.look_after(&mut server, wrong).await?;
        proxy.heal();
        self.trace.note(Note::Healed);
        wrong.extend(self.end_nemesis(&server).await?.err());
        let converged = self.converge(&mut server, &mut proxy, wrong).await?;
        self.ask_all(&server).await;
        if let Some(Blow::KillAtStart(operation)) = &self.schedule.blow {
            server.crash_at_start(operation).await?;
        }
        server.crash("does it find all of it again?").await?;
        server.wait_ready().await?;
        self.ask_all(&server).await;
        self.place.changes.delete_all().await?;
        Ok(converged)
    }

    /// Asks and changes what the schedule says, with the nemesis beside it.
    async fn load(&self, server: watch::Receiver<Access>) -> Result<Verdict> {
        let Place { names, changes, clients, .. } = self.place;
        let amount = match &self.schedule.load {
            Load::Drawn(amount) => amount,
            Load::Script => return script::run(&names[0], clients, changes, server).await.map(Ok),
        };
        let random = |part: usize| Rng::with_seed(self.schedule.seed.wrapping_add(part as u64 + 1));
        let names_of_load = &names[..amount.targets];
        let asking =
            (0..amount.clients).map(|n| clients.run(names_of_load, amount, random(n), server.clone()));
        let disturbing = async {
            match self.schedule.nemesis {
                Some(nemesis) => Box::pin(nemesis.make(&self.place, &server)).await,
                None => Ok(Ok(())),
            }
        };
        let changing = changes.run(names_of_load, amount, random(amount.clients));
        let (_, changed, disturbed) = tokio::join!(join_all(asking), changing, disturbing);
        clients.manage_all(names, &server).await;
        changed?;
        disturbed
    }

    async fn end_nemesis(&self, server: &Server) -> Result<Verdict> {
        match self.schedule.nemesis {
            Some(nemesis) => nemesis.end(&self.place, &server.access()).await,
            None => Ok(Ok(())),
        }
    }

    async fn attach(&self, server: &mut Server) -> Result<Option<Strace>> {
        let (operation, injection) = match &self.schedule.blow {
            Some(Blow::KillAtFile(operation)) => (operation, Injection::Kill),
            Some(Blow::FailFile { operation, errno }) => (operation, Injection::Fail { errno }),
            Some(Blow::Kill { .. } | Blow::KillAtStart(_) | Blow::Pause { .. }) | None => return Ok(None),
        };
        Strace::attach(server.pid(), server.options(), operation, injection).await.map(Some)
    }

    async fn wait_for_blow(&self) {
        match self.schedule.blow {
            Some(Blow::Kill { after_ms }) => time::sleep(Duration::from_millis(after_ms)).await,
            Some(Blow::Pause { .. }) => {}
            Some(Blow::KillAtFile(_) | Blow::KillAtStart(_) | Blow::FailFile { .. }) | None => {
                std::future::pending::<()>().await;
            }
        }
    }

    fn struck(&self) {
        self.is_struck.set(true);
        self.trace.note(Note::Struck);
    }

    async fn strike(&self, server: &mut Server) -> Result<()> {
        self.struck();
        match self.schedule.blow {
            Some(Blow::Kill { .. }) => server.crash("at a moment").await?,
            Some(Blow::Pause { ms }) => {
                let pause = Duration::from_millis(ms);
                self.trace.note(Note::Server(Deed::Pause(pause)));
                let pid = i32::try_from(server.pid())?;
                let pid = Pid::from_raw(pid).expect("a process has a number");
                kill_process(pid, Signal::STOP)?;
                time::sleep(pause).await;
                kill_process(pid, Signal::CONT)?;
            }
            Some(Blow::KillAtFile(_) | Blow::KillAtStart(_) | Blow::FailFile { .. }) | None => {}
        }
        Ok(())
    }

    /// Starts the server again if it has died. Only strace may have killed it, and only once.
    async fn look_after(&self, server: &mut Server, wrong: &mut Vec<String>) -> Result<()> {
        let Some((status, log)) = server.death()? else { return Ok(()) };
        let is_killed = status.signal() == Some(Signal::KILL.as_raw());
        if is_killed && !self.is_struck.get() && matches!(self.schedule.blow, Some(Blow::KillAtFile(_))) {
            self.struck();
        } else {
            wrong.push(format!("the server ended by itself: {log}"));
        }
        server.crash("it is dead").await
    }

    async fn converge(
        &self,
        server: &mut Server,
        proxy: &mut FaultProxy,
        wrong: &mut Vec<String>,
    ) -> Result<Option<Duration>> {
        let begun = Instant::now();
        loop {
            self.look_after(server, wrong).await?;
            let Some(last) = self.deviation(server).await? else { return Ok(Some(begun.elapsed())) };
            if begun.elapsed() > CONVERGENCE {
                wrong.push(format!("stuck: not within {CONVERGENCE:?}: {last}"));
                return Ok(None);
            }
            // A crash that was drawn before the end of all faults may still come.
            tokio::select! {
                ordinal = proxy.crash() => server.crash(&format!("at request {ordinal}")).await?,
                () = time::sleep(POLL) => {}
            }
        }
    }

    /// The first thing that is not as desired, if there is one.
    async fn deviation(&self, server: &Server) -> Result<Option<String>> {
        let mut client = server.access().borrow().client.clone();
        let namespace = self.place.namespace;
        for name in self.place.names {
            let request = proto::GetDeploymentRequest {
                name: name.clone(),
                namespace: namespace.to_owned(),
                ..proto::GetDeploymentRequest::default()
            };
            let answer = match client.get_deployment(request).await {
                Ok(answer) => answer.into_inner(),
                Err(status) => return Ok(Some(format!("Get of {name}: {status}"))),
            };
            let count = self.place.changes.count(name).await?;
            let is_settled = match answer.state() {
                DeploymentState::InSync | DeploymentState::Contested => {
                    answer.desired_replicas == count && answer.current_replicas == count
                }
                DeploymentState::Unmanaged => answer.current_replicas == count,
                _ => false,
            };
            if !is_settled || answer.observed_age.is_some() {
                return Ok(Some(format!("{name} has {count:?}, Get says {answer:?}")));
            }
        }
        Ok(None)
    }

    async fn ask_all(&self, server: &Server) {
        let client = server.access().borrow().client.clone();
        let Place { names, clients, .. } = self.place;
        join_all(names.iter().map(|name| clients.ask(client.clone(), name, Asked::Get, false))).await;
    }
}
