//! The only code that talks to the Kubernetes API server.
//!
//! Reads: a watch for each kind of workload and one for autoscalers, and a GET where the watch may lag behind. Writes:
//! only the `scale` of workloads, in [`scale`].

pub mod autoscaler;
mod cause;
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
