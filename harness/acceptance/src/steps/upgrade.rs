//! Upgrades to another image under load: no acknowledged Set is lost, and the gap is not much longer than that of a trivial
//! pod which is replaced the same way. The two take turns, so that a busy minute of the machine meets both.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use replica_count_api::proto;
use replica_count_testbed::manager::Client;

use super::{Step, passed};
use crate::certificates::Credentials;
use crate::ledger::Ledger;
use crate::load::{CALLERS, Caller, Load, REQUESTS_PER_SECOND, Seen, TIMEOUT, look};
use crate::output::say;
use crate::session::GRPC;
use crate::stage::{APPS, Stage};
use crate::table::Outcome;
use crate::trivial::{PORT, Reader, TRIVIAL};

/// Replacements of either.
const ROUNDS: usize = 3;

/// Answers before and after a replacement: a second of them.
const STEADY: usize = REQUESTS_PER_SECOND as usize;

/// The gap of the trivial pod, times this.
const LIMIT: f64 = 1.5;

/// The rate that must be kept up outside of the gap, for it to be a load at all.
const LEAST_RATE: f64 = 40.0;

pub(super) const STEP: Step = Step {
    name: "upgrade",
    about: "helm upgrade to another image under 50 requests a second, beside a trivial pod with the same volume",
    run: |stage| Box::pin(run(stage)),
};

async fn run(stage: &Stage) -> Result<Outcome> {
    let port_forward = stage.port_forward(GRPC).await?;
    let credentials = Credentials::of_client(&stage.kubernetes).await?;
    let endpoint = credentials.endpoint(port_forward.address)?.connect_timeout(TIMEOUT).timeout(TIMEOUT);
    let mut writers: Vec<Writer> =
        (0..CALLERS).map(|number| Writer::new(Client::new(endpoint.connect_lazy()), number)).collect();
    stage.trivial().await?;
    let trivial = stage.port_forward_to(APPS, TRIVIAL, PORT).await?;

    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let seen;
        (writers, seen) = measure(writers, async || upgrade(stage, round).await).await?;
        let readers = (0..CALLERS).map(|_| Reader(trivial.address)).collect();
        let (_, beside) = measure(readers, async || stage.replace_trivial(round).await).await?;
        say(&format!("    {}; trivial pod {}", describe(seen), describe(beside)));
        ensure!(
            seen.rate.min(beside.rate) >= LEAST_RATE,
            "this machine is too busy for {LEAST_RATE} a second"
        );
        ours.push(seen.gap);
        theirs.push(beside.gap);
    }

    let acknowledged = check(stage, writers).await?;
    let (ours, theirs) = (median(ours), median(theirs));
    let ratio = ours / theirs;
    let seen = format!(
        "{acknowledged} Sets acknowledged, none lost; gap {ours:.2} s, trivial pod {theirs:.2} s, {ratio:.2}x"
    );
    ensure!(ratio <= LIMIT, "{seen}: more than {LIMIT}x");
    Ok(passed(seen))
}

/// What the callers see while something is replaced.
async fn measure<C: Caller>(
    callers: Vec<C>,
    replace: impl AsyncFnOnce() -> Result<()>,
) -> Result<(Vec<C>, Seen)> {
    let load = Load::start(callers);
    load.more(STEADY).await?;
    replace().await?;
    load.more(STEADY).await?;
    let (callers, answers) = load.stop().await?;
    Ok((callers, look(&answers)))
}

fn describe(seen: Seen) -> String {
    format!("gap {:.2} s, else {:.0} requests a second", seen.gap.as_secs_f64(), seen.rate)
}

/// To the one image, and back to the other.
async fn upgrade(stage: &Stage, round: usize) -> Result<()> {
    let pod = stage.pod().await?;
    let runs = |pod: &k8s_openapi::api::core::v1::Pod| {
        pod.spec.as_ref().and_then(|spec| spec.containers.first()?.image.clone())
    };
    let next = if runs(&pod) == Some(stage.image.to_string()) { &stage.next_image } else { &stage.image };
    stage.install(next, &[]).await?;
    let image = runs(&stage.pod_after(&pod).await?);
    ensure!(image == Some(next.to_string()), "round {round}: the pod runs {image:?}");
    Ok(())
}

/// Compares what each was told with what is stored.
async fn check(stage: &Stage, writers: Vec<Writer>) -> Result<usize> {
    let mut session = stage.session().await?;
    let mut acknowledged = 0;
    for mut writer in writers {
        let stored = session.get(&writer.name).await?;
        writer.ledger.read(stored.desired_replicas, stored.generation).context(writer.name.clone())?;
        acknowledged += writer.ledger.acknowledgements;
        session.forget(&writer.name).await?;
    }
    Ok(acknowledged)
}

/// Sets and reads a target of its own, in turn. There is no such Deployment: it is the store that is tried here.
struct Writer {
    client: Client,
    name: String,
    requests: i32,
    ledger: Ledger,
}

impl Writer {
    fn new(client: Client, number: u32) -> Self {
        Self { client, name: format!("load-{number}"), requests: 0, ledger: Ledger::default() }
    }

    async fn set(&mut self) -> Result<bool> {
        // Another count each time, and within the limit of the server.
        let count = self.requests / 2 % 1000;
        let request = proto::SetDeploymentRequest {
            name: self.name.clone(),
            namespace: APPS.to_owned(),
            replicas: Some(count),
            allow_missing: true,
            ..proto::SetDeploymentRequest::default()
        };
        if let Ok(answer) = self.client.set_deployment(request).await {
            self.ledger.acknowledged(count, answer.into_inner().generation)?;
            return Ok(true);
        }
        self.ledger.unanswered(count);
        Ok(false)
    }

    async fn get(&mut self) -> Result<bool> {
        let request = proto::GetDeploymentRequest {
            name: self.name.clone(),
            namespace: APPS.to_owned(),
            ..proto::GetDeploymentRequest::default()
        };
        let Ok(answer) = self.client.get_deployment(request).await else { return Ok(false) };
        let stored = answer.into_inner();
        self.ledger.read(stored.desired_replicas, stored.generation).context(self.name.clone())?;
        Ok(true)
    }
}

impl Caller for Writer {
    async fn call(&mut self) -> Result<bool> {
        self.requests += 1;
        if self.requests % 2 == 1 { self.set().await } else { self.get().await }
    }
}

/// In seconds; the number of gaps is odd.
fn median(mut gaps: Vec<Duration>) -> f64 {
    gaps.sort();
    gaps[gaps.len() / 2].as_secs_f64()
}
