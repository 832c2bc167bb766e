//! Replica Count Manager: one source of truth for the replica counts of Kubernetes Deployments.
//!
//! Two flows meet in one queue. The watch shows what is observed, the API stores what is desired, and both only mark
//! targets; the reconciler takes them one by one, decides and writes. `docs/ARCHITECTURE.md` has the map.

pub mod args;
pub mod certs;
pub mod check;
pub mod clock;
pub mod cluster;
pub mod command;
pub mod histories;
pub mod http;
pub mod kubernetes;
mod listener;
pub mod log;
pub mod metrics;
mod quota;
pub mod reconcile;
pub mod report;
mod resolve;
pub mod server;
pub mod service;
pub mod store;
mod strangers;
pub mod tls;
pub mod work;
