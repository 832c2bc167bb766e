//! The backend that stores the settings in one file.
//!
//! All changes go through one queue to one committer (a blocking loop on its own thread). It takes all queued changes
//! as one batch, replaces the file, publishes the changes, and only then answers. So an `Ok` means *durable*,
//! concurrent changes share one write and one sync, and memory never shows anything that is not in the file.
//!
//! The file is read once, when it is opened. If others write to it later, the next change overwrites that. A file that
//! can be read but not written is served and enforced; each change tries to write it, and is refused if that fails.

mod batch;
mod committer;
mod disk;
mod failure;
mod handle;
mod lock;
mod metrics;
mod open;
mod open_error;
mod queue;
#[cfg(test)]
mod tests;
mod writable;

pub use committer::Committer;
pub use disk::{Disk, RealDisk};
pub(super) use open::open;
pub use open_error::OpenError;
