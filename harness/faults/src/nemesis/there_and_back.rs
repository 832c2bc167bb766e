//! Somebody changes a count and changes it back at once. Who sees none of it, or only a part, has nothing to do.

use std::time::Duration;

use anyhow::Result;
use tokio::sync::watch;
use tokio::time;

use super::Place;
use crate::patience::Verdict;
use crate::server::Access;

/// For as long as watches that broke take to come back.
const TIMES: usize = 40;
const PAUSE: Duration = Duration::from_millis(100);
/// A count that is never desired.
const THERE: i32 = 7_000;

pub(super) async fn change(place: &Place<'_>, server: &watch::Receiver<Access>) -> Result<Verdict> {
    let is_set = place.set_apart(server).await;
    let mut ticks = time::interval(PAUSE);
    for _ in 0..TIMES {
        ticks.tick().await;
        place.changes.there_and_back(place.apart(), THERE).await?;
    }
    Ok(is_set)
}
