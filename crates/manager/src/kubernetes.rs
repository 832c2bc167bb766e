//! The only code that talks to the Kubernetes API server.
//!
//! Reads: a watch of each kind of workload and one of autoscalers, and a GET where the watch may be behind. Writes: the
//! `scale` of workloads, in [`scale`] alone.

pub mod autoscaler;
pub mod connect;
mod malformed;
mod metadata;
mod path;
pub mod probe;
pub mod reads;
mod retry_after;
pub mod scale;
pub mod watch;
pub mod workload;

pub use malformed::MalformedObject;
pub use path::{autoscalers, workloads};
