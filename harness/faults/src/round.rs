//! Runs a round: executes its schedule, and judges the result.

use std::cell::Cell;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use fastrand::Rng;
use futures_util::future::{join_all, try_join_all};
use kube::api::{DeleteParams, ListParams};
use replica_count_api::proto::{self, DeploymentState};
use replica_count_testbed::fault_proxy::Plan;
use replica_count_testbed::manager::Options;
use replica_count_testbed::{ControlPlane, FaultProxy};
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::watch;
use tokio::time::{self, Instant};

use crate::api_access::ApiAccess;
use crate::arrival::Arrivals;
use crate::certificate_files::CertificateFiles;
use crate::cluster_changes::{ClusterChanges, NEW};
use crate::environment::Environment;
use crate::history::Request;
use crate::lease;
use crate::load::Clients;
use crate::nemesis::RoundContext;
use crate::oracle::{self, Evidence, Writes};
use crate::retry::Verdict;
use crate::schedule::{CONVERGENCE_DEADLINE, Load, Schedule, ServerFault, Store};
use crate::server::{Access, Server};
use crate::strace::{Injection, Strace};
use crate::trace::{Line, Note, ServerEvent, Trace};
use crate::workload::Workload;
use crate::{disk, script, shown};

const POLL: Duration = Duration::from_millis(20);

/// The result of a round.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) trace: PathBuf,
    pub(crate) lines: Vec<Line>,
    /// The writes of the server.
    pub(crate) writes: Writes,
    /// The violations that the oracles found.
    pub(crate) violations: Vec<String>,
    /// The time from the end of all faults until everything was as desired.
    pub(crate) converged: Option<Duration>,
}

/// Plays a round. An error means that it could not be played.
pub(crate) async fn play(environment: &Environment, name: &str, schedule: &Schedule) -> Result<Report> {
    let trace = Arc::new(Trace::create(environment.trace(name))?);
    trace.note(Note::Schedule(Box::new(schedule.clone())));
    let mut violations = test_disks(schedule, &trace).await;
    let control_plane = environment.control_plane();
    let (namespace, workloads) = create(control_plane, schedule).await?;
    let proxy = start_proxy(control_plane, schedule, &trace).await?;
    let folder = control_plane.folder("faults")?;
    let api_access = ApiAccess::new(control_plane, &proxy, &folder).await?;
    let start = async |folder| start(schedule, &api_access, &namespace, folder, &trace).await;
    let (server, certificate_files) = start(&folder).await?;
    let other = match schedule.store {
        Store::Shared => Some(start(&control_plane.folder("faults-other")?).await?.0),
        Store::File | Store::ReplicaCounts => None,
    };
    let options = server.options().clone();
    let changes = ClusterChanges::new(control_plane, &namespace, &trace).await?;
    let clients = Clients::new(&namespace, &trace);
    let context = RoundContext {
        namespace: &namespace,
        workloads: &workloads,
        options: &options,
        api_access: &api_access,
        certificate_files: &certificate_files,
        changes: &changes,
        clients: &clients,
        trace: &trace,
    };
    let other_access = other.as_ref().map(Server::access);
    let round = Round { schedule, context, trace: &trace, other_access, is_injected: Cell::new(false) };
    let shown = shown::watch(&namespace, &changes, server.access(), &trace);
    let converged = tokio::select! {
        converged = round.run(server, proxy, &mut violations) => converged?,
        failed = shown => match failed? {},
    };
    if let Some((_, log)) = other.map(|mut other| other.death()).transpose()?.flatten() {
        violations.push(format!("the second server ended by itself: {log}"));
    }
    if schedule.store != Store::File {
        let objects = control_plane.replica_counts(&namespace).await?;
        objects.delete_collection(&DeleteParams::default(), &ListParams::default()).await?;
    }

    let evidence = Evidence {
        lines: &trace.lines(),
        histories: &clients.histories(),
        deviations: changes.deviations(),
        is_shared: schedule.store == Store::Shared,
    };
    violations.extend(oracle::judge(&evidence));
    for violation in &violations {
        trace.note(Note::Violation(violation.clone()));
    }
    let lines = trace.lines();
    let writes = oracle::writes(&lines);
    Ok(Report { writes, trace: trace.path().to_owned(), lines, violations, converged })
}

/// Creates what a round needs in the cluster. Returns its namespace, and the workloads.
async fn create(control_plane: &ControlPlane, schedule: &Schedule) -> Result<(String, Vec<Workload>)> {
    let namespace = control_plane.namespace("faults").await?;
    let workloads = schedule.workloads();
    // A few at a time, because each uses its own connection.
    for some in workloads.chunks(8) {
        try_join_all(some.iter().map(|workload| workload.create(control_plane, &namespace, NEW))).await?;
    }
    if schedule.store != Store::File {
        control_plane.install_replica_counts().await?;
        control_plane.create_released_lease(&namespace, lease::NAME).await?;
    }
    Ok((namespace, workloads))
}

async fn start_proxy(
    control_plane: &ControlPlane,
    schedule: &Schedule,
    trace: &Arc<Trace>,
) -> Result<FaultProxy> {
    let observer = Arc::clone(trace);
    let note = Box::new(move |entry| observer.note(Note::Proxy(entry)));
    FaultProxy::start(control_plane, schedule.encodings, plan(schedule), note).await
}

/// Starts a server of the round, with certificates of its own.
async fn start(
    schedule: &Schedule,
    api_access: &ApiAccess<'_>,
    namespace: &str,
    folder: &Path,
    trace: &Arc<Trace>,
) -> Result<(Server, Arc<CertificateFiles>)> {
    let options = Options::beside_this_program(&api_access.kubeconfig(), folder)?;
    let options = match schedule.store {
        Store::File => options,
        Store::ReplicaCounts | Store::Shared => lease::used_by(options, namespace),
    };
    let files = Arc::new(CertificateFiles::new(&options, folder)?);
    let server = Server::start(options, Arc::clone(&files), Arc::clone(trace)).await?;
    Ok((server, files))
}

/// Tests the store on simulated disks, and returns the violations.
async fn test_disks(schedule: &Schedule, trace: &Trace) -> Vec<String> {
    let mut violations = Vec::new();
    for n in 0..schedule.disks {
        match disk::try_random(schedule.seed.wrapping_add(n)).await {
            Ok(faults) => faults.into_iter().for_each(|fault| trace.note(Note::Disk(fault.to_owned()))),
            Err(error) => violations.push(format!("disk {n}: {error}")),
        }
    }
    violations
}

fn plan(schedule: &Schedule) -> Plan {
    let (seed, faults) = (schedule.seed, schedule.faults.clone());
    let arrivals: Mutex<Arrivals> = Mutex::default();
    Box::new(move |ordinal, kind, path| {
        let arrival = arrivals.lock().unwrap_or_else(PoisonError::into_inner).record(ordinal, kind, path);
        faults.fault(seed, &arrival)
    })
}

/// A round while its server runs.
struct Round<'a> {
    schedule: &'a Schedule,
    context: RoundContext<'a>,
    trace: &'a Trace,
    /// The second server, for clients with a workload of their own: each server knows at once only what it stored itself.
    other_access: Option<watch::Receiver<Access>>,
    /// Whether the scheduled server fault has been injected.
    is_injected: Cell<bool>,
}

impl Round<'_> {
    /// Returns the time to convergence.
    async fn run(
        &self,
        mut server: Server,
        mut proxy: FaultProxy,
        violations: &mut Vec<String>,
    ) -> Result<Option<Duration>> {
        let strace = self.attach(&mut server).await?;
        {
            let mut load = std::pin::pin!(self.load(server.access()));
            let mut server_fault = std::pin::pin!(self.wait_for_server_fault());
            let mut poll = time::interval(POLL);
            loop {
                tokio::select! {
                    disturbed = &mut load => break violations.extend(disturbed?.err()),
                    ordinal = proxy.crash() => server.crash(&format!("at request {ordinal}")).await?,
                    () = &mut server_fault, if !self.is_injected.get() => self.inject(&mut server).await?,
                    _ = poll.tick() => self.restart_if_dead(&mut server, violations).await?,
                }
            }
        }
        if strace.map(Strace::detach).transpose()?.unwrap_or_default() {
            self.note_injected();
        }
        self.restart_if_dead(&mut server, violations).await?;
        proxy.heal();
        self.trace.note(Note::Healed);
        violations.extend(self.finish_nemesis(&server).await?.err());
        let converged = self.converge(&mut server, &mut proxy, violations).await?;
        self.get_all(&server).await;
        if let Some(ServerFault::KillAtStart(operation)) = &self.schedule.server_fault {
            server.crash_at_start(operation).await?;
        }
        server.crash("to check that everything was stored").await?;
        server.wait_ready().await?;
        self.get_all(&server).await;
        self.context.changes.delete_all().await?;
        Ok(converged)
    }

    /// Runs the load of the schedule, with the nemesis beside it.
    async fn load(&self, server: watch::Receiver<Access>) -> Result<Verdict> {
        let RoundContext { workloads, changes, clients, .. } = self.context;
        let amount = match &self.schedule.load {
            Load::Drawn(amount) => amount,
            Load::Script => return script::run(&workloads[0], clients, changes, server).await.map(Ok),
        };
        let random = |part: usize| Rng::with_seed(self.schedule.seed.wrapping_add(part as u64 + 1));
        let of_load = &workloads[..amount.targets];
        let mut asking: Vec<_> =
            (0..amount.clients).map(|n| clients.run(of_load, amount, random(n), server.clone())).collect();
        let of_other = self.of_other();
        if let Some((workload, other)) = &of_other {
            asking.push(clients.run(workload, amount, random(amount.clients + 1), (*other).clone()));
        }
        let disturbing = async {
            match self.schedule.nemesis {
                Some(nemesis) => Box::pin(nemesis.run(&self.context, &server)).await,
                None => Ok(Ok(())),
            }
        };
        let changing = changes.run(of_load, amount, random(amount.clients));
        let (_, changed, disturbed) = tokio::join!(join_all(asking), changing, disturbing);
        if let Some((workload, other)) = &of_other {
            clients.manage_all(workload, other).await;
        }
        clients.manage_all(&self.of_first(), &server).await;
        changed?;
        disturbed
    }

    /// The workload of the second server's clients, and how to reach that server.
    fn of_other(&self) -> Option<(&[Workload], &watch::Receiver<Access>)> {
        let other = self.other_access.as_ref()?;
        let at = self.schedule.load.targets();
        Some((&self.context.workloads[at..=at], other))
    }

    /// The workloads of the first server's clients.
    fn of_first(&self) -> Vec<Workload> {
        let of_other = self.of_other().map(|(workloads, _)| workloads).unwrap_or_default();
        self.context.workloads.iter().filter(|workload| !of_other.contains(workload)).cloned().collect()
    }

    async fn finish_nemesis(&self, server: &Server) -> Result<Verdict> {
        match self.schedule.nemesis {
            Some(nemesis) => nemesis.finish(&self.context, &server.access()).await,
            None => Ok(Ok(())),
        }
    }

    async fn attach(&self, server: &mut Server) -> Result<Option<Strace>> {
        let (operation, injection) = match &self.schedule.server_fault {
            Some(ServerFault::KillAtFile(operation)) => (operation, Injection::Kill),
            Some(ServerFault::FailFile { operation, errno }) => (operation, Injection::Fail { errno }),
            Some(ServerFault::Kill { .. } | ServerFault::KillAtStart(_) | ServerFault::Pause { .. })
            | None => return Ok(None),
        };
        Strace::attach(server.pid(), server.options(), operation, injection).await.map(Some)
    }

    async fn wait_for_server_fault(&self) {
        match self.schedule.server_fault {
            Some(ServerFault::Kill { after_ms }) => time::sleep(Duration::from_millis(after_ms)).await,
            Some(ServerFault::Pause { .. }) => {}
            Some(ServerFault::KillAtFile(_) | ServerFault::KillAtStart(_) | ServerFault::FailFile { .. })
            | None => {
                std::future::pending::<()>().await;
            }
        }
    }

    fn note_injected(&self) {
        self.is_injected.set(true);
        self.trace.note(Note::ServerFaultInjected);
    }

    async fn inject(&self, server: &mut Server) -> Result<()> {
        self.note_injected();
        match self.schedule.server_fault {
            Some(ServerFault::Kill { .. }) => server.crash("at a moment").await?,
            Some(ServerFault::Pause { ms }) => {
                let pause = Duration::from_millis(ms);
                self.trace.note(Note::Server(ServerEvent::Pause(pause)));
                let pid = i32::try_from(server.pid())?;
                let pid = Pid::from_raw(pid).expect("a process has a number");
                kill_process(pid, Signal::STOP)?;
                time::sleep(pause).await;
                kill_process(pid, Signal::CONT)?;
            }
            Some(ServerFault::KillAtFile(_) | ServerFault::KillAtStart(_) | ServerFault::FailFile { .. })
            | None => {}
        }
        Ok(())
    }

    /// Restarts the server if it has died. Only strace may have killed it, and only once.
    async fn restart_if_dead(&self, server: &mut Server, violations: &mut Vec<String>) -> Result<()> {
        let Some((status, log)) = server.death()? else { return Ok(()) };
        let was_killed = status.signal() == Some(Signal::KILL.as_raw());
        let may_kill = matches!(self.schedule.server_fault, Some(ServerFault::KillAtFile(_)));
        if was_killed && !self.is_injected.get() && may_kill {
            self.note_injected();
        } else {
            violations.push(format!("the server ended by itself: {log}"));
        }
        server.crash("it has died").await
    }

    async fn converge(
        &self,
        server: &mut Server,
        proxy: &mut FaultProxy,
        violations: &mut Vec<String>,
    ) -> Result<Option<Duration>> {
        let begun = Instant::now();
        loop {
            self.restart_if_dead(server, violations).await?;
            let Some(last) = self.deviation(server).await? else { return Ok(Some(begun.elapsed())) };
            if begun.elapsed() > CONVERGENCE_DEADLINE {
                violations.push(format!("stuck: not within {CONVERGENCE_DEADLINE:?}: {last}"));
                return Ok(None);
            }
            // A crash scheduled before the end of all faults may still happen.
            tokio::select! {
                ordinal = proxy.crash() => server.crash(&format!("at request {ordinal}")).await?,
                () = time::sleep(POLL) => {}
            }
        }
    }

    /// The first deviation from the desired state, if any.
    async fn deviation(&self, server: &Server) -> Result<Option<String>> {
        let mut client = server.access().borrow().client.clone();
        let namespace = self.context.namespace;
        for workload in self.context.workloads {
            let request = proto::GetDeploymentRequest {
                name: workload.name.clone(),
                namespace: namespace.to_owned(),
                kind: workload.proto_kind(),
                ..Default::default()
            };
            let answer = match client.get_deployment(request).await {
                Ok(answer) => answer.into_inner(),
                Err(status) => return Ok(Some(format!("Get of {workload}: {status}"))),
            };
            let count = self.context.changes.count(workload).await?;
            let is_as_desired = match answer.state() {
                DeploymentState::InSync | DeploymentState::Contested => {
                    let has_failed =
                        answer.last_failure.as_ref().is_some_and(|last| last.reason != "throttled");
                    answer.desired_replicas == count && answer.current_replicas == count && !has_failed
                }
                DeploymentState::Unmanaged => answer.current_replicas == count,
                _ => false,
            };
            if !is_as_desired || answer.observed_age.is_some() {
                return Ok(Some(format!("{workload} has {count:?}, Get says {answer:?}")));
            }
        }
        Ok(None)
    }

    async fn get_all(&self, server: &Server) {
        let RoundContext { workloads, clients, .. } = self.context;
        let gets = workloads.iter().map(|workload| {
            let other = self.of_other().filter(|(of_other, _)| of_other.contains(workload));
            let access = other.map_or_else(|| server.access(), |(_, other)| other.clone());
            let client = access.borrow().client.clone();
            clients.call(client, workload, Request::Get, false)
        });
        join_all(gets).await;
    }
}
