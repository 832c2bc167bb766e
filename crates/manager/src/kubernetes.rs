//! The only code that talks to the Kubernetes API server.
//!
//! Reads: a watch of Deployments and one of autoscalers, and a GET where the watch may be behind. Writes:
//! `deployments/scale`, in [`scale`] alone.

pub mod autoscaler;
pub mod connect;
pub mod deployment;
mod metadata;
pub mod reads;
mod retry_after;
pub mod scale;
pub mod watch;
