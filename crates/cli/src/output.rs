//! What commands print.

pub mod events;
mod format;
mod objects;
pub mod print;
mod table;
pub mod words;
pub mod workloads;

pub use format::{Format, OutputArgs, yaml};
pub use objects::object;
pub use table::Table;

use crate::failure::Failure;

/// Reports failures, of which the last ends the command.
pub fn fail_together(mut failures: Vec<Failure>) -> Result<(), Failure> {
    let Some(last) = failures.pop() else { return Ok(()) };
    for failure in failures {
        print::note(&format!("error: {failure}"));
    }
    Err(last)
}
