//! `kubectl-replicas`: what people do with Replica Count Manager from a terminal. On the `PATH`, kubectl finds it as
//! `kubectl replicas`.

pub mod certs;
pub mod command;
