//! What commands print.

mod colour;
pub mod events;
mod format;
mod objects;
mod paths;
pub mod print;
mod table;
pub mod words;
pub mod workloads;

pub use format::{Format, OutputArgs, yaml};
pub use objects::object;
pub use table::Table;

use crate::failure::Failure;

/// Lines as one text, each with its line feed.
pub fn lines(lines: impl IntoIterator<Item = String>) -> String {
    lines.into_iter().flat_map(|line| [line, "\n".to_owned()]).collect()
}

/// Reports failures, of which the last ends the command.
pub fn fail_together(mut failures: Vec<Failure>) -> Result<(), Failure> {
    let Some(last) = failures.pop() else { return Ok(()) };
    for failure in failures {
        print::note(&format!("error: {failure}"));
    }
    Err(last)
}
