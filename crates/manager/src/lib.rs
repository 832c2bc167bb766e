//! Replica Count Manager: one source of truth for the replica counts of Kubernetes workloads.
//!
//! Two flows meet in one queue. The watch delivers the observed state, the API stores the desired state, and both only
//! mark targets. The reconciler takes these one by one, decides and writes. `docs/ARCHITECTURE.md` has the map.

mod clock;
pub mod cluster;
pub mod events;
pub mod guards;
pub mod history;
pub mod kubernetes;
pub mod leadership;
pub mod net;
pub mod notify;
mod polled;
pub mod reconcile;
pub mod rpc;
pub mod server;
pub mod store;
pub mod traces;
pub mod work;
