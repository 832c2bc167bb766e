//! `torture all`: every case of a list, one after the other.

use anyhow::Result;

use crate::stage::Stage;

/// Plays all cases.
pub async fn run(_stage: &Stage, _only: Option<&str>) -> Result<()> {
    Ok(())
}
