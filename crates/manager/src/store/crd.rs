//! The backend that keeps each setting as a ReplicaCount, an object of the API server.
//!
//! The API server is the database: durable means that it answered, a watch delivers the changes of everybody, and the
//! version of an object is the lock of a change. What a change of this server has stored is in memory before its answer
//! is sent; changes by others follow with the watch.
//!
//! If there are several objects for one target, the oldest one counts.

mod change;
mod entry;
mod failure;
mod fresh;
mod handle;
mod import;
mod kept;
mod metrics;
mod objects;
mod open;
mod queue;
mod reading;
mod sink;
#[cfg(test)]
mod tests;
mod writer;

pub use entry::{NotEnforced, Rules};
pub use import::Importer;
pub use kept::{Kept, ObjectView};
pub use open::Unstarted;
pub(super) use open::open;
pub use sink::ReplicaCountSink;
pub use writer::Writer;
