//! The backend that keeps settings in one file.
//!
//! All changes go through one queue to one committer (a blocking loop on a thread of its own). It takes whatever waits
//! there as one batch, replaces the file, publishes the changes, and only then answers. So an `Ok` means *durable*,
//! concurrent changes share one write and one sync, and memory never shows what the file does not hold.
//!
//! The file is read once, when it is opened; what others write to it afterwards is overwritten by the next change.

mod batch;
mod committer;
mod disk;
mod failure;
mod handle;
mod metrics;
mod open;
mod queue;
#[cfg(test)]
mod tests;

pub use committer::Committer;
pub use disk::{Disk, RealDisk};
pub use open::OpenError;
pub(super) use open::open;
