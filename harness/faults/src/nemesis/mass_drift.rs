//! All counts change at once. The API server throttles most of the repairs.

use anyhow::Result;
use futures_util::future::try_join_all;

use super::RoundContext;
use crate::retry::Verdict;

/// A count that is never set as desired.
const DRIFTED: i32 = 6_000;

pub(super) async fn drift(context: &RoundContext<'_>) -> Result<Verdict> {
    try_join_all(context.workloads.iter().map(|workload| context.changes.scale(workload, DRIFTED))).await?;
    Ok(Ok(()))
}
