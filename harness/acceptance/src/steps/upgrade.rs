//! Upgrades to another image under load: no acknowledged Set is lost, and the gap is not much longer than that of a
//! trivial pod that is replaced in the same way. The two alternate, so a busy machine affects both.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use replica_count_api::proto;
use replica_count_client::Deployments;

use super::{Step, passed};
use crate::certificates::Credentials;
use crate::fixture::{APPS, Fixture};
use crate::ledger::Ledger;
use crate::load::{CALLERS, Caller, Load, Measurement, REQUESTS_PER_SECOND, TIMEOUT, summarize};
use crate::output::say;
use crate::reader::{PORT, Reader};
use crate::session::GRPC;
use crate::table::Outcome;
use crate::trivial::TRIVIAL;

/// How often each is replaced.
const ROUNDS: usize = 3;

/// How many answers to wait for before and after a replacement: those of a second.
const STEADY: usize = REQUESTS_PER_SECOND as usize;

/// The allowed ratio of our gap to that of the trivial pod.
const MAX_RATIO: f64 = 1.5;

/// The required rate outside of the gap.
const MIN_RATE: f64 = 40.0;

pub(super) const STEP: Step = Step {
    name: "upgrade",
    about: "helm upgrade to another image under 50 requests a second, compared with a trivial pod",
    run: |fixture| Box::pin(run(fixture)),
};

async fn run(fixture: &Fixture) -> Result<Outcome> {
    let port_forward = fixture.port_forward(GRPC).await?;
    let credentials = Credentials::of_client(&fixture.kubernetes).await?;
    let endpoint = credentials.endpoint(port_forward.address)?.with_timeout(TIMEOUT);
    let mut writers: Vec<Writer> =
        (0..CALLERS).map(|number| Writer::new(endpoint.connect_lazy().deployments(), number)).collect();
    fixture.trivial().await?;
    let trivial = fixture.port_forward_to(APPS, TRIVIAL, PORT).await?;

    let (mut ours, mut baseline) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let seen;
        (writers, seen) = measure(writers, async || upgrade(fixture, round).await).await?;
        let readers = (0..CALLERS).map(|_| Reader::new(trivial.address)).collect();
        let (_, trivial_pod) = measure(readers, async || fixture.replace_trivial(round).await).await?;
        say(&format!("    {}; trivial pod {}", describe(seen), describe(trivial_pod)));
        ensure!(
            seen.rate.min(trivial_pod.rate) >= MIN_RATE,
            "this machine is too busy for {MIN_RATE} a second"
        );
        ours.push(seen.gap);
        baseline.push(trivial_pod.gap);
    }

    let acknowledged = check(fixture, writers).await?;
    let (ours, baseline) = (median(ours), median(baseline));
    let ratio = ours / baseline;
    let seen = format!(
        "{acknowledged} Sets acknowledged, none lost; gap {ours:.2} s, trivial pod {baseline:.2} s, {ratio:.2}x"
    );
    ensure!(ratio <= MAX_RATIO, "{seen}: more than {MAX_RATIO}x");
    Ok(passed(seen))
}

/// Measures the load while something is replaced.
async fn measure<C: Caller>(
    callers: Vec<C>,
    replace: impl AsyncFnOnce() -> Result<()>,
) -> Result<(Vec<C>, Measurement)> {
    let load = Load::start(callers, REQUESTS_PER_SECOND);
    load.wait_for_answers(STEADY).await?;
    replace().await?;
    load.wait_for_answers(STEADY).await?;
    let (callers, answers) = load.stop().await?;
    Ok((callers, summarize(&answers)))
}

fn describe(seen: Measurement) -> String {
    format!("gap {:.2} s, otherwise {:.0} requests a second", seen.gap.as_secs_f64(), seen.rate)
}

/// Upgrades to the other of the two images.
async fn upgrade(fixture: &Fixture, round: usize) -> Result<()> {
    let pod = fixture.pod().await?;
    let runs = |pod: &k8s_openapi::api::core::v1::Pod| {
        pod.spec.as_ref().and_then(|spec| spec.containers.first()?.image.clone())
    };
    let next =
        if runs(&pod) == Some(fixture.image.to_string()) { &fixture.next_image } else { &fixture.image };
    fixture.install(next, &[]).await?;
    let image = runs(&fixture.pod_after(&pod).await?);
    ensure!(image == Some(next.to_string()), "round {round}: the pod runs {image:?}");
    Ok(())
}

/// Checks the answers of each writer against the stored settings.
async fn check(fixture: &Fixture, writers: Vec<Writer>) -> Result<usize> {
    let mut session = fixture.session().await?;
    let mut acknowledged = 0;
    for mut writer in writers {
        let stored = session.get(&writer.name).await?;
        writer.ledger.read(stored.desired_replicas, stored.generation).context(writer.name.clone())?;
        acknowledged += writer.ledger.acknowledgements;
        session.delete_setting(&writer.name).await?;
    }
    Ok(acknowledged)
}

/// Alternately sets and reads its own target. The Deployment does not exist, because only the store is tested here.
struct Writer {
    client: Deployments,
    name: String,
    requests: i32,
    ledger: Ledger,
}

impl Writer {
    fn new(client: Deployments, number: u32) -> Self {
        Self { client, name: format!("load-{number}"), requests: 0, ledger: Ledger::default() }
    }

    async fn set(&mut self) -> Result<bool> {
        // A different count each time, within the server's limit.
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

/// The median in seconds, for an odd number of gaps.
fn median(mut gaps: Vec<Duration>) -> f64 {
    gaps.sort();
    gaps[gaps.len() / 2].as_secs_f64()
}
