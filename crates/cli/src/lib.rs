//! `kubectl-replicas`: the command line of Replica Count Manager, which kubectl finds on the `PATH` as
//! `kubectl replicas`.

pub mod calls;
pub mod certs;
pub mod command;
mod commands;
pub mod connect;
pub mod duration;
pub mod failure;
pub mod output;
pub mod scope;
pub mod target;
pub mod ui;
