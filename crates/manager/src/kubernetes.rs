//! The only code that talks to the Kubernetes API server.
//!
//! Reads: a watch for each kind of workload, one for autoscalers and one for guards, and a GET where the watch may lag
//! behind. Writes: only the `scale` of workloads, in [`scale`], guards, [`replica_count`]s, the Lease of the election, in
//! [`lease`], and Events, in [`event`].
//!
//! [`source`] reads where the API server is and who the server is to it, [`renewal`] keeps that current, and each request
//! is sent with what is current then.

mod access;
pub mod access_review;
pub mod autoscaler;
mod cause;
pub mod connect;
mod connection;
mod connector;
mod credentials;
pub mod event;
mod exchange;
pub mod guard;
pub mod lease;
mod malformed;
mod metadata;
pub mod outbound;
mod path;
mod plugin;
pub mod probe;
mod proxy;
pub mod reads;
pub mod renewal;
pub mod replica_count;
pub mod requests;
mod retry_after;
pub mod scale;
pub mod source;
pub mod standing;
pub mod watch;
pub mod workload;

pub use access::Unusable;
pub use malformed::MalformedObject;
pub use path::{autoscalers, guards, leases, replica_counts, workloads};
