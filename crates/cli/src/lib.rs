//! `kubectl-replicas`: the command line of Replica Count Manager, which kubectl finds on the `PATH` as
//! `kubectl replicas`.

pub mod certs;
pub mod command;
