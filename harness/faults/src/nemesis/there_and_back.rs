//! Somebody changes a count and immediately changes it back. A server that sees only part of it has nothing to repair.

use std::time::Duration;

use anyhow::Result;
use tokio::sync::watch;
use tokio::time;

use super::RoundContext;
use crate::retry::Verdict;
use crate::server::Access;

/// Enough to outlast the reconnection of broken watches.
const TIMES: usize = 40;
const PAUSE: Duration = Duration::from_millis(100);
/// A count that is never set as desired.
const THERE: i32 = 7_000;

pub(super) async fn change(context: &RoundContext<'_>, server: &watch::Receiver<Access>) -> Result<Verdict> {
    let is_set = context.set_reserved(server).await;
    let mut ticks = time::interval(PAUSE);
    for _ in 0..TIMES {
        ticks.tick().await;
        context.changes.there_and_back(context.reserved_target(), THERE).await?;
    }
    Ok(is_set)
}
