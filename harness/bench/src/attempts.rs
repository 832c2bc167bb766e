//! Tries to get wrong counts past the guard, in every way that people have, while an independent watch looks.
//!
//! After the attempts in each way comes one on a Deployment that is not managed, which the watch has to show: this proves
//! that such a request changes a count where nobody guards it, and that the watch has shown everything before.

mod programs;
mod way;
mod witness;

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use kube::api::{Api, PostParams};
use programs::Programs;
use replica_count_api::proto::SetDeploymentRequest;
use replica_count_testbed::control_plane::Options;
use replica_count_testbed::manager::Client;
use replica_count_testbed::{ControlPlane, Manager};
use serde_json::{Value, json};
use way::{Answer, Sender, Way};
use witness::{Witness, Wrong};

use crate::fleet::Fleet;
use crate::output::say_error;
use crate::policies::{self, Policy};
use crate::progress::Progress;
use crate::results::Outcome;
use crate::table::{Goal, Row, Unit};
use crate::{kubeconfig, sample, server};

/// The count of everything at the start.
const REPLICAS: i32 = 3;
/// The kept counts, another one for each way.
const KEPT: [i32; 5] = [4, 0, 3, 5, 1];
/// The Deployment that is not managed.
const CONTROL: &str = "control";
/// The counts that it gets begin after this one.
const CONTROL_COUNT: i32 = 100;
/// The number of concurrent requests of a preparation.
const CONCURRENCY: usize = 16;
const HELM: [&str; 2] = ["helm3", "helm4"];

/// The amount of attempts.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Attempts in each way by requests.
    attempts: usize,
    /// The Deployments on which they are made in turn. If one has to be repaired too often, repairs are delayed.
    deployments: usize,
    /// Attempts in each way by kubectl itself.
    kubectl: usize,
    /// Upgrades by each Helm.
    helm: usize,
    /// Whether a wrong count is an error: nobody reads the table of a short run.
    must_hold: bool,
}

impl Plan {
    const FULL: Self = Self { attempts: 1_000, deployments: 200, kubectl: 30, helm: 100, must_hold: false };
    const SHORT: Self = Self { attempts: 6, deployments: 3, kubectl: 0, helm: 0, must_hold: true };

    /// With so many upgrades by each Helm.
    pub(crate) fn new(rounds: Option<NonZeroUsize>, short: bool) -> Self {
        let plan = if short { Self::SHORT } else { Self::FULL };
        Self { helm: rounds.map_or(plan.helm, NonZeroUsize::get), ..plan }
    }
}

/// How counts are guarded.
#[derive(Clone, Copy, Debug)]
struct Case {
    what: &'static str,
    /// Also the name of the guard.
    namespace: &'static str,
    mode: &'static str,
    /// How many API servers attempts use in turn.
    api_servers: usize,
    /// Whether the API server corrects counts.
    corrects: bool,
}

const CASES: [Case; 3] = [
    Case { what: "correct", namespace: "correct", mode: "correct", api_servers: 1, corrects: true },
    Case {
        what: "two API servers",
        namespace: "correct-by-two",
        mode: "correct",
        api_servers: 2,
        corrects: true,
    },
    Case { what: "deny", namespace: "deny", mode: "deny", api_servers: 1, corrects: false },
];

/// Tries.
pub(crate) async fn measure(plan: &Plan) -> Result<Outcome> {
    let mut control_plane = ControlPlane::start(Options::beside_this_program()?).await?;
    // An API server that starts later than the guard has none at first; see the benchmark of the guard.
    let kubeconfigs =
        [control_plane.admin_kubeconfig().to_owned(), control_plane.start_second_api_server().await?];
    let (mut rows, mut details) = (Vec::new(), Vec::new());
    for case in CASES {
        let stage = Stage::prepare(&control_plane, plan, case, &kubeconfigs[..case.api_servers]).await?;
        let tallies = stage.play(plan).await.with_context(|| case.what.to_owned())?;
        if plan.must_hold {
            for tally in &tallies {
                let wrong = tally.wrong_in(case);
                ensure!(wrong == 0, "{}, {}: {wrong} wrong counts: {:?}", case.what, tally.way, tally.wrong);
            }
        }
        rows.extend(tallies.iter().flat_map(|tally| tally.rows(case)));
        let tallies: BTreeMap<_, _> =
            tallies.iter().map(|tally| (tally.way.clone(), tally.details())).collect();
        details.push(json!({ "case": case.what, "mode": case.mode, "ways": tallies }));
    }
    say_error(&format!(
        "{} attempts in each way were the HTTP requests of kubectl; kubectl itself, which takes longer, made {} in each way, \
         and each Helm {}",
        plan.attempts, plan.kubectl, plan.helm
    ));
    let kubernetes = control_plane.admin().await?.apiserver_version().await?.git_version;
    Ok(Outcome { name: "attempts", rows, kubernetes, details: json!(details) })
}

/// What became of the attempts in one way.
#[derive(Debug)]
struct Tally {
    way: String,
    attempts: usize,
    refused: usize,
    /// The first refusal.
    refusal: Option<String>,
    wrong: Vec<Wrong>,
}

impl Tally {
    fn new(way: impl Into<String>) -> Self {
        Self { way: way.into(), attempts: 0, refused: 0, refusal: None, wrong: Vec::new() }
    }

    fn add(&mut self, answer: Answer) {
        self.attempts += 1;
        if let Answer::Refused(message) = answer {
            self.refused += 1;
            self.refusal.get_or_insert(message);
        }
    }

    /// The wrong counts. Where nothing corrects, what is created may show its own count once; then it is repaired.
    fn wrong_in(&self, case: Case) -> usize {
        self.wrong.iter().filter(|wrong| case.corrects || !wrong.is_first).count()
    }

    #[allow(clippy::cast_precision_loss, reason = "small counts")]
    fn rows(&self, case: Case) -> Vec<Row> {
        let Self { way, attempts, refused, .. } = self;
        let what = format!("attempts: {}, {way}", case.what);
        let wrong = self.wrong_in(case) as f64;
        let row = Row::new(format!("{what}: wrong counts in {attempts}"), Unit::Times, wrong);
        let refusals = (case.corrects && *refused > 0)
            .then(|| Row::new(format!("{what}: refused"), Unit::Times, *refused as f64));
        [row.judged_by(Goal::Below(1.0))].into_iter().chain(refusals).collect()
    }

    fn details(&self) -> Value {
        json!({
            "attempts": self.attempts,
            "refused": self.refused,
            "first_refusal": self.refusal,
            "wrong_counts": self.wrong.len(),
            "first_wrong_counts": self.wrong.iter().take(10).collect::<Vec<_>>(),
            "wrong_counts_of_new_objects": self.wrong.iter().filter(|wrong| wrong.is_first).count(),
        })
    }
}

/// A guarded fleet, somebody who tries, and the watch.
struct Stage {
    case: Case,
    fleet: Fleet,
    witness: Witness,
    /// By way of each API server.
    senders: Vec<Sender>,
    kubeconfigs: Vec<PathBuf>,
    programs: Option<Programs>,
    service: Client,
    /// Ends with the stage.
    _manager: Manager,
}

impl Stage {
    async fn prepare(
        control_plane: &ControlPlane,
        plan: &Plan,
        case: Case,
        kubeconfigs: &[PathBuf],
    ) -> Result<Self> {
        let namespace = case.namespace;
        let corrects = control_plane.install_guard(namespace).await?;
        ensure!(corrects, "this API server cannot correct counts, which needs Kubernetes 1.36");
        let fleet = Fleet { namespace, size: plan.deployments, replicas: REPLICAS };
        fleet.create(control_plane).await?;
        let mut senders = Vec::new();
        for kubeconfig in kubeconfigs {
            senders.push(Sender { client: kubeconfig::client(kubeconfig).await?, namespace });
        }
        let client = &senders[0].client;
        if !case.corrects {
            policies::remove(client, namespace, &[Policy::Correct]).await?;
        }
        let control = sample::deployment(CONTROL, REPLICAS)?;
        Api::namespaced(client.clone(), namespace).create(&PostParams::default(), &control).await?;
        let options = server::guarding(control_plane, case.mode, namespace).await?;
        fs::write(options.store(), fleet.settings(0..fleet.size).to_string())?;
        let mut manager = Manager::start(&options).await?;
        manager.wait_ready().await?;
        server::wait_until_guarded(&manager, fleet.size).await?;
        let watching = kubeconfig::client(&control_plane.kubeconfig_as("witness")?).await?;
        let witness = Witness::start(watching, namespace).await?;
        let programs = if plan.kubectl > 0 || plan.helm > 0 {
            Some(Programs::new(control_plane, namespace)?)
        } else {
            None
        };
        let service = manager.client().await?;
        let kubeconfigs = kubeconfigs.to_vec();
        Ok(Self { case, fleet, witness, senders, kubeconfigs, programs, service, _manager: manager })
    }

    async fn play(&self, plan: &Plan) -> Result<Vec<Tally>> {
        let mut tallies = Vec::new();
        for (number, way) in Way::ALL.into_iter().enumerate() {
            let kept = KEPT[number % KEPT.len()];
            self.set_all(kept).await?;
            tallies.push(self.by_requests(plan, way, kept).await.context(way.name())?);
        }
        let Some(programs) = &self.programs else { return Ok(tallies) };
        self.set_all(REPLICAS).await?;
        tallies.push(self.by_kubectl(plan, programs).await.context("kubectl")?);
        if self.case.corrects {
            for helm in HELM {
                tallies.push(self.by_helm(plan, programs, helm).await.context(helm)?);
            }
        }
        Ok(tallies)
    }

    /// Sets the count of the whole fleet, and waits until each API server keeps it.
    async fn set_all(&self, count: i32) -> Result<()> {
        let names: Vec<String> = (0..self.fleet.size).map(|number| self.fleet.name(number)).collect();
        let set = names.iter().map(|name| self.set(name, count));
        stream::iter(set).buffer_unordered(CONCURRENCY).try_collect().await
    }

    async fn set(&self, name: &str, count: i32) -> Result<()> {
        self.witness.keep(name, None)?;
        let request = SetDeploymentRequest {
            name: name.to_owned(),
            namespace: self.fleet.namespace.to_owned(),
            replicas: Some(count),
            ..SetDeploymentRequest::default()
        };
        self.service.clone().set_deployment(request).await.context("SetDeployment failed")?;
        for Sender { client, namespace } in &self.senders {
            policies::wait_until_kept(client, namespace, name, Some(count.into())).await?;
        }
        self.witness.wait_for(name, count).await?;
        self.witness.keep(name, Some(count))
    }

    async fn by_requests(&self, plan: &Plan, way: Way, kept: i32) -> Result<Tally> {
        let mut tally = Tally::new(way.name());
        let mut progress = Progress::new(format!("{}: {}", self.case.what, way.name()), plan.attempts);
        let mut counts = way.counts().iter().cycle().filter(|count| count.unwrap_or(1) != kept);
        for number in 0..plan.attempts {
            let (name, sender) = (self.fleet.name(number), &self.senders[number % self.senders.len()]);
            let count = *counts.next().context("there is always another count")?;
            tally.add(sender.attempt(way, &name, count).await?);
            progress.advance();
        }
        let control = CONTROL_COUNT + i32::try_from(way as usize)?;
        let answer = self.senders[0].attempt(way, CONTROL, Some(control)).await?;
        progress.finish();
        self.finish(tally, &answer, control, kept).await
    }

    async fn by_kubectl(&self, plan: &Plan, programs: &Programs) -> Result<Tally> {
        let attempts = Way::ALL.len() * plan.kubectl;
        let mut tally = Tally::new("kubectl itself");
        let mut progress = Progress::new(format!("{}: kubectl", self.case.what), attempts);
        for number in 0..attempts {
            let (name, way) = (self.fleet.name(number), Way::ALL[number % Way::ALL.len()]);
            let kubeconfig = &self.kubeconfigs[number % self.kubeconfigs.len()];
            let count = [0, 7, 1][number % 3];
            tally.add(programs.kubectl(kubeconfig, way, &name, count).await?);
            progress.advance();
        }
        let control = CONTROL_COUNT - 1;
        let answer = programs.kubectl(&self.kubeconfigs[0], Way::Scale, CONTROL, control).await?;
        progress.finish();
        self.finish(tally, &answer, control, REPLICAS).await
    }

    async fn by_helm(&self, plan: &Plan, programs: &Programs, name: &'static str) -> Result<Tally> {
        let helm = programs::helm(name).await?;
        let upgrade = async |number: usize, release: &str, count| {
            let kubeconfig = &self.kubeconfigs[number % self.kubeconfigs.len()];
            programs.helm(&helm, kubeconfig, release, count).await
        };
        let unguarded = format!("{name}-{CONTROL}");
        for release in [name, &unguarded] {
            let installed = upgrade(0, release, REPLICAS).await?;
            ensure!(installed == Answer::Accepted, "{name} cannot install: {installed:?}");
        }
        self.set(name, REPLICAS).await?;
        let mut tally = Tally::new(format!("{name} upgrade"));
        let mut progress = Progress::new(format!("{}: {name}", self.case.what), plan.helm);
        for number in 0..plan.helm {
            tally.add(upgrade(number, name, [0, 7, 1][number % 3]).await?);
            progress.advance();
        }
        let control = CONTROL_COUNT - 2;
        let answer = upgrade(0, &unguarded, control).await?;
        progress.finish();
        ensure!(answer == Answer::Accepted, "{answer:?}");
        self.witness.wait_for(&unguarded, control).await?;
        tally.wrong = self.witness.take_wrong();
        Ok(tally)
    }

    /// Waits until the watch has shown the attempt on the Deployment that is not managed, and with it all others, and
    /// until everything is as it should be.
    async fn finish(&self, mut tally: Tally, answer: &Answer, control: i32, kept: i32) -> Result<Tally> {
        ensure!(*answer == Answer::Accepted, "without a guard, there should be no refusal: {answer:?}");
        self.witness.wait_for(CONTROL, control).await?;
        for number in 0..self.fleet.size {
            self.witness.wait_for(&self.fleet.name(number), kept).await?;
        }
        tally.wrong = self.witness.take_wrong();
        Ok(tally)
    }
}
