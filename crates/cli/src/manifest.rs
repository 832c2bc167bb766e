//! Files of desired counts: the settings file of the RFD as JSON or YAML, and ReplicaCounts.

mod entry;
mod node;
mod object;
mod plan;
mod read;
mod render;
mod setting;
#[cfg(test)]
mod tests;

pub use entry::{Enforcement, Entry, Place};
pub use plan::{Change, Plan, Step};
pub use read::{Source, read_all};
pub use render::{FileFormat, entry_of, render};
pub use setting::Setting;
