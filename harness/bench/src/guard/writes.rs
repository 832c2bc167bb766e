//! What the guard costs others: PATCHes by an unrelated client, beside an API server without policies.
//!
//! There are two API servers, each with its own etcd and the same objects. The policies are on one of them at a time, and
//! change sides after each block of rounds, so that no difference between the two counts. In each round, each write goes to
//! both, one right after the other.

use std::time::Instant;

use anyhow::{Context as _, Result};
use http::{Request, header};
use kube::Client;
use serde_json::{Map, Value, json};

use super::{FREE, OWN, Plan as All, REPLICAS, Site};
use crate::latencies::Latencies;
use crate::progress::Progress;
use crate::table::{Goal, Rival, Row, Unit};

/// The limits of a PATCH, in those of an API server without policies: beside the guards of the two namespaces, and
/// where there is none.
const GOALS: [f64; 2] = [1.35, 1.4];
const GOAL_FREE: f64 = 1.05;

/// The rounds of a block that do not count.
const WARM_UP: usize = 20;

/// The amount of measurements.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// How often the policies change sides, plus one.
    pub(super) blocks: usize,
    /// The rounds of each.
    pub(super) rounds: usize,
}

/// What is written.
#[derive(Clone, Copy, Debug)]
enum Change {
    Annotation,
    Scale,
}

/// A write that is repeated.
struct Write {
    what: String,
    namespace: &'static str,
    name: String,
    change: Change,
    goal: f64,
}

impl Write {
    fn all(plan: &All) -> Vec<Self> {
        let own = [("PATCH of an annotation", Change::Annotation), ("PATCH of scale", Change::Scale)];
        let mut all = Vec::new();
        for (fleet, goal) in plan.fleets().iter().zip(GOALS) {
            let (namespace, size) = (fleet.namespace, fleet.size);
            let write = |what: &str, name: String, change| {
                let what = format!("guard: {what} beside {size} guarded");
                Self { what, namespace, name, change, goal }
            };
            all.extend(own.map(|(what, change)| write(what, OWN.to_owned(), change)));
            all.push(write("PATCH of a guarded one", fleet.name(fleet.size - 1), Change::Annotation));
        }
        all.extend(own.map(|(what, change)| {
            let what = format!("guard: {what} without a guard");
            Self { what, namespace: FREE, name: OWN.to_owned(), change, goal: GOAL_FREE }
        }));
        all
    }

    /// Writes what it was not in the round before, and measures the time to the answer.
    async fn send(&self, client: &Client, round: usize, latencies: &mut Latencies) -> Result<()> {
        let path = format!("/apis/apps/v1/namespaces/{}/deployments/{}", self.namespace, self.name);
        let odd = i32::from(!round.is_multiple_of(2));
        let (path, body) = match self.change {
            Change::Annotation => {
                (path, json!({ "metadata": { "annotations": { "example.com/round": round.to_string() } } }))
            }
            Change::Scale => (path + "/scale", json!({ "spec": { "replicas": REPLICAS + odd } })),
        };
        let request = Request::patch(path)
            .header(header::CONTENT_TYPE, "application/merge-patch+json")
            .body(body.to_string().into_bytes())?;
        let sent = Instant::now();
        client.request_text(request).await.with_context(|| self.what.clone())?;
        latencies.push(sent.elapsed());
        Ok(())
    }
}

/// The latencies of a write: with policies, and without.
type Pair = [Latencies; 2];

pub(super) async fn measure(plan: &All, sites: &[Site; 2]) -> Result<(Vec<Row>, Value)> {
    let Plan { blocks, rounds } = plan.writes;
    let writes = Write::all(plan);
    let mut scores: Vec<Pair> = writes.iter().map(|_| Pair::default()).collect();
    let mut progress = Progress::new("rounds of PATCHes by others", blocks * (WARM_UP + rounds));
    for block in 0..blocks {
        let (guarded, plain) = (&sites[block % 2], &sites[(block + 1) % 2]);
        plain.switch(plan, false).await?;
        guarded.switch(plan, true).await?;
        for round in 0..WARM_UP + rounds {
            for (write, score) in writes.iter().zip(&mut scores) {
                let mut measured = Pair::default();
                let [with, without] = &mut measured;
                if round.is_multiple_of(2) {
                    write.send(&guarded.client, round, with).await?;
                    write.send(&plain.client, round, without).await?;
                } else {
                    write.send(&plain.client, round, without).await?;
                    write.send(&guarded.client, round, with).await?;
                }
                if round >= WARM_UP {
                    score.iter_mut().zip(&measured).for_each(|(all, measured)| all.extend(measured));
                }
            }
            progress.advance();
        }
    }
    progress.finish();
    let rows = writes.iter().zip(&scores).map(|(write, score)| row(write, score)).collect();
    let details = writes.iter().zip(&scores).map(|(write, [with, without])| {
        (write.what.clone(), json!({ "with_policies_ms": with.to_ms(), "without_ms": without.to_ms() }))
    });
    Ok((rows, details.collect::<Map<_, _>>().into()))
}

fn row(write: &Write, [with, without]: &Pair) -> Row {
    Row::new(format!("{}, p50", write.what), Unit::Milliseconds, with.percentile_ms(50))
        .beside(Rival::Limit, without.percentile_ms(50))
        .between(Rival::Limit, with.ratio_interval(without, 50))
        .judged_by(Goal::RatioAtMost(Rival::Limit, write.goal))
}
