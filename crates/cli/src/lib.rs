//! `kubectl-replicas`: the command line of Replica Count Manager, which kubectl finds on the `PATH` as
//! `kubectl replicas`.

mod bulk;
pub mod calls;
pub mod certs;
mod change;
pub mod command;
mod commands;
mod complete;
pub mod connect;
pub mod dry_run;
pub mod duration;
pub mod failure;
pub mod manifest;
pub mod output;
pub mod scope;
pub mod select;
pub mod target;
pub mod ui;
mod undo;
pub mod until;
