//! `testbed build`.

use anyhow::Result;
use replica_count_testbed::cluster::{Program, Programs};

use crate::output::say;

pub(crate) fn run(only: &[Program]) -> Result<()> {
    let programs = Programs::from_env()?;
    let wanted = if only.is_empty() { &Program::CONTROL_PLANE } else { only };
    for program in wanted {
        say(&programs.ensure(*program)?.display().to_string());
    }
    Ok(())
}
