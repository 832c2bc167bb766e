//! How soon the guard is in force on an API server that was started again, after that is ready.
//!
//! An API server knows the kind of the parameter only some time after its start. Until then, it lets every count pass.

use std::time::Instant;

use anyhow::Result;
use serde_json::{Value, json};

use super::{Plan, REPLICAS, Site};
use crate::policies;
use crate::table::{Row, Unit};

/// Measures.
pub(super) async fn measure(plan: &Plan, site: &Site) -> Result<(Vec<Row>, Value)> {
    site.switch(plan, true).await?;
    let mut seconds = Vec::new();
    for _ in 0..plan.restarts {
        site.control_plane.start_api_server().await?;
        let ready = Instant::now();
        let [fleet, _] = plan.fleets();
        let last = fleet.name(fleet.size - 1);
        policies::wait_until_kept(&site.client, fleet.namespace, &last, Some(REPLICAS.into())).await?;
        seconds.push(ready.elapsed().as_secs_f64());
    }
    let most = seconds.iter().copied().fold(0.0, f64::max);
    let row = (plan.restarts > 0)
        .then(|| Row::new("guard: API server ready after a restart to in force", Unit::Seconds, most));
    Ok((row.into_iter().collect(), json!(seconds)))
}
