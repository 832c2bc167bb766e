//! Replica Count Manager: one source of truth for the replica counts of Kubernetes Deployments.
//!
//! Two flows meet in one queue. The watch shows what is observed, the API stores what is desired, and both only mark
//! targets; the reconciler takes them one by one, decides and writes. `docs/ARCHITECTURE.md` has the map.

mod args;
mod certs;
mod clock;
mod cluster;
pub mod command;
mod http;
mod kubernetes;
mod listener;
mod log;
mod metrics;
mod reconcile;
mod report;
mod server;
mod service;
mod store;
mod tls;
mod work;
