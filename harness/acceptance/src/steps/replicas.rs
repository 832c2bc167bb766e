//! Two servers with `store: crd` are replaced one after the other, under load. Whoever retries once notices nothing, and
//! the drifts meanwhile are repaired.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::{Patch, PatchParams, PostParams};
use replica_count_api::proto;
use replica_count_client::Deployments;
use replica_count_testbed::observer::Observer;
use serde_json::json;
use tokio::time::{self, Instant};

use super::uninstall::wait_until_only;
use super::{Step, passed, rights};
use crate::certificates::Credentials;
use crate::eventually::eventually;
use crate::fixture::{APPS, Fixture, NAME};
use crate::load::{CALLERS, Caller, Load, summarize};
use crate::session::GRPC;
use crate::table::Outcome;

pub(super) const STEP: Step = Step {
    name: "replicas",
    about: "store=crd, two servers, restarted one after the other under 200 requests a second, with drifts",
    run: |fixture| Box::pin(run(fixture)),
};

const SERVERS: usize = 2;

/// Requests a second.
const RATE: u32 = 200;

/// Answers to wait for before and after the restart.
const STEADY: usize = RATE as usize;

/// The timeout of requests and connections: generous, because the machine may be busy. The longest wait is printed.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The pause before the one retry of a client.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// How many Deployments drift in turn: so many that none drifts often enough to be damped.
const DRIFTING: usize = 60;

/// Between two drifts.
const PAUSE: Duration = Duration::from_millis(200);

/// How long a drift may live. A server that ends hands over at once; without that, the Lease would first have to expire.
const MAX_DRIFT: Duration = Duration::from_secs(2);

/// The configuration, without a copy of it that outlives the release.
const VALUES: [&str; 6] = ["--set-string", "store=crd", "--set", "replicas=2", "--set", "crds.keep=false"];

async fn run(fixture: &Fixture) -> Result<Outcome> {
    fixture.install(&fixture.image, &VALUES).await?;
    let before = ready(fixture).await?;
    let names = drifting(fixture).await?;
    let credentials = Credentials::of_client(&fixture.kubernetes).await?;
    let port_forward = fixture.port_forward(GRPC).await?;
    let endpoint = credentials.endpoint(port_forward.address)?.with_timeout(TIMEOUT);
    let clients = (0..CALLERS).map(|number| Client::new(endpoint.connect_lazy().deployments(), number));
    let load = Load::start(clients, RATE);
    load.wait_for_answers(STEADY).await?;

    let restart = async {
        restart(fixture).await?;
        load.wait_for_answers(STEADY).await
    };
    let mut repairs = Vec::new();
    tokio::select! {
        restarted = restart => restarted?,
        failed = drift(fixture, &names, &mut repairs) => failed?,
    }
    let (clients, answers) = load.stop().await?;
    let after = ready(fixture).await?;
    ensure!(before.iter().all(|pod| !after.contains(pod)), "{before:?} were not all replaced: {after:?}");

    let wait = clients.iter().map(|client| client.longest).max().unwrap_or_default();
    let retries = check(fixture, clients).await?;
    let longest = repairs.iter().max().context("nothing drifted")?.as_secs_f64();
    ensure!(longest <= MAX_DRIFT.as_secs_f64(), "a drift lived for {longest:.2} s");
    let mut session = fixture.session().await?;
    for name in &names {
        session.delete_setting(name).await?;
    }
    let rights = if fixture.audit_logs.is_empty() {
        "no audit log was given".to_owned()
    } else {
        // Only where the API server does not stream lists does a server list, and this step does not run there.
        let usage = rights::allowed_usage(fixture)?;
        rights::exactly_used(fixture, &usage, |right| right.verb != "list").await?
    };
    fixture.uninstall().await?;
    // Unless the step `uninstall` was left out, nothing is left of the file, either.
    let kept = fixture.claim().await.map(|claim| format!("persistentvolumeclaim/{}", claim.name_any())).ok();
    wait_until_only(fixture, &Vec::from_iter(kept.as_deref())).await?;
    Ok(passed(format!(
        "{} answers, {:.0} a second, {retries} after a retry, no error, the longest after {:.0} ms; {} drifts, the longest for {:.0} ms; {rights}",
        answers.len(),
        summarize(&answers).rate,
        wait.as_secs_f64() * 1000.0,
        repairs.len(),
        longest * 1000.0,
    )))
}

/// Waits until both servers are ready, and returns the uids of their pods.
async fn ready(fixture: &Fixture) -> Result<Vec<String>> {
    let pods = eventually("both servers are ready", async || fixture.ready_pods(SERVERS).await).await?;
    Ok(pods.iter().filter_map(Pod::uid).collect())
}

/// Creates managed Deployments without pods, and waits until somebody enforces them: the first holder of a Lease waits for
/// as long as the Lease lasts. Returns their names.
async fn drifting(fixture: &Fixture) -> Result<Vec<String>> {
    let names: Vec<String> = (0..DRIFTING).map(|number| format!("paused-{number}")).collect();
    let mut session = fixture.session().await?;
    for name in &names {
        let mut manifest = fixture.manifest(name, Some(1));
        manifest["spec"]["paused"] = true.into();
        fixture.deployments().create(&PostParams::default(), &serde_json::from_value(manifest)?).await?;
    }
    for name in &names {
        session.wait_for(name, "a current count", |answer| answer.current_replicas.is_some()).await?;
        session.set(name, 1).await?;
    }
    session.wait_for(&names[0], "a holder", |answer| !answer.holder.is_empty()).await?;
    Ok(names)
}

/// Restarts the servers as `kubectl` does, and waits until that is done.
async fn restart(fixture: &Fixture) -> Result<()> {
    let (namespace, name) = (format!("--namespace={NAME}"), format!("deployment/{NAME}"));
    fixture.programs.run(["kubectl", "rollout", "restart", &namespace, &name]).await?;
    fixture.programs.run(["kubectl", "rollout", "status", &namespace, &name]).await.map(drop)
}

/// Makes one Deployment after the other drift, and notes how long each drift lived. Ends only if something fails.
async fn drift(fixture: &Fixture, names: &[String], repairs: &mut Vec<Duration>) -> Result<()> {
    for name in names.iter().cycle() {
        let mut observer = Observer::start(fixture.deployments(), name).await?;
        let scale = Patch::Merge(json!({ "spec": { "replicas": 2 } }));
        fixture.deployments().patch_scale(name, &PatchParams::default(), &scale).await?;
        let repair = observer.wait_for_repair(2, 1).await.with_context(|| name.clone())?;
        repairs.push(repair.duration());
        time::sleep(PAUSE).await;
    }
    Ok(())
}

/// Checks that no client had an error and that each last count is stored. Returns how often they retried.
async fn check(fixture: &Fixture, clients: Vec<Client>) -> Result<usize> {
    let mut session = fixture.session().await?;
    let mut retries = 0;
    for client in clients {
        ensure!(client.errors.is_empty(), "errors after a retry: {}", client.errors.join("; "));
        let is_stored = |answer: &proto::GetDeploymentResponse| answer.desired_replicas == Some(client.count);
        session.wait_for(&client.name, "the last acknowledged count", is_stored).await?;
        session.delete_setting(&client.name).await?;
        retries += client.retries;
    }
    Ok(retries)
}

/// A client that alternately sets and reads its own target, and retries once. The Deployment does not exist.
struct Client {
    deployments: Deployments,
    name: String,
    count: i32,
    is_reading: bool,
    retries: usize,
    errors: Vec<String>,
    /// The longest time until an answer, retries included.
    longest: Duration,
}

impl Client {
    fn new(deployments: Deployments, number: u32) -> Self {
        let name = format!("load-{number}");
        Self {
            deployments,
            name,
            count: 0,
            is_reading: true,
            retries: 0,
            errors: Vec::new(),
            longest: Duration::ZERO,
        }
    }

    /// Makes a request, and once more if it fails. Returns whether it was answered.
    async fn request_twice(&mut self) -> bool {
        if self.request().await.is_ok() {
            return true;
        }
        self.retries += 1;
        time::sleep(RETRY_AFTER).await;
        let again = self.request().await;
        self.errors.extend(again.as_ref().err().map(ToString::to_string));
        again.is_ok()
    }

    async fn request(&mut self) -> Result<(), tonic::Status> {
        let (name, namespace) = (self.name.clone(), APPS.to_owned());
        if self.is_reading {
            let request = proto::GetDeploymentRequest { name, namespace, ..Default::default() };
            return self.deployments.get_deployment(request).await.map(drop);
        }
        let request = proto::SetDeploymentRequest {
            name,
            namespace,
            replicas: Some(self.count),
            allow_missing: true,
            ..proto::SetDeploymentRequest::default()
        };
        self.deployments.set_deployment(request).await.map(drop)
    }
}

impl Caller for Client {
    async fn call(&mut self) -> Result<bool> {
        self.is_reading = !self.is_reading;
        if !self.is_reading {
            // A different count each time, within the server's limit.
            self.count = self.count % 999 + 1;
        }
        let started = Instant::now();
        let is_answered = self.request_twice().await;
        self.longest = self.longest.max(started.elapsed());
        Ok(is_answered)
    }
}
