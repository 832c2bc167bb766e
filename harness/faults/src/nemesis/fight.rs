//! Somebody fights for a count. That the server answers ever more slowly is for the oracles to see.

use std::time::Duration;

use anyhow::Result;
use tokio::sync::watch;
use tokio::time::{self, Instant};

use super::Place;
use crate::patience::Verdict;
use crate::server::Access;

/// 50 changes a second.
const PAUSE: Duration = Duration::from_millis(20);
/// A machine that is too busy for that takes longer, but not for ever.
const LONGEST: Duration = Duration::from_secs(30);
/// Two counts that are never desired.
const FOUGHT_FOR: [i32; 2] = [5_000, 5_001];

pub(super) async fn fight(
    changes: usize,
    place: &Place<'_>,
    server: &watch::Receiver<Access>,
) -> Result<Verdict> {
    let is_set = place.set_apart(server).await;
    let (end, mut ticks) = (Instant::now() + LONGEST, time::interval(PAUSE));
    for count in FOUGHT_FOR.into_iter().cycle().take(changes) {
        if Instant::now() >= end {
            break;
        }
        ticks.tick().await;
        place.changes.scale(place.apart(), count).await?;
    }
    Ok(is_set)
}
