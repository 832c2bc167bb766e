//! Somebody keeps changing a count. An oracle checks that the server repairs it at growing intervals.

use std::time::Duration;

use anyhow::Result;
use tokio::sync::watch;
use tokio::time::{self, Instant};

use super::RoundContext;
use crate::retry::Verdict;
use crate::server::Access;

/// 50 changes a second.
const PAUSE: Duration = Duration::from_millis(20);
/// The limit for a machine that is too busy for this rate.
const MAX_DURATION: Duration = Duration::from_secs(30);
/// Two counts that are never set as desired.
const COUNTS: [i32; 2] = [5_000, 5_001];

pub(super) async fn fight(
    changes: usize,
    context: &RoundContext<'_>,
    server: &watch::Receiver<Access>,
) -> Result<Verdict> {
    let is_set = context.set_reserved(server).await;
    let (end, mut ticks) = (Instant::now() + MAX_DURATION, time::interval(PAUSE));
    for count in COUNTS.into_iter().cycle().take(changes) {
        if Instant::now() >= end {
            break;
        }
        ticks.tick().await;
        context.changes.scale(context.reserved_target(), count).await?;
    }
    Ok(is_set)
}
