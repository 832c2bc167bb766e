//! Fault injection: runs the real server against a real API server with injected faults, crashes and disk failures, and
//! checks with oracles that it keeps the promises in `docs/RELIABILITY.md`.
//!
//! A *round* follows a schedule that is drawn from its seed. It starts a server behind a fault proxy, runs clients and
//! changes to the cluster, ends all faults, waits until everything is as desired, and judges all answers and writes.

pub mod all;
mod api_access;
pub mod arrival;
mod certificate_files;
mod cluster_changes;
mod disk;
pub mod environment;
pub mod handover;
pub mod history;
mod lease;
pub mod linearizability;
mod load;
pub mod mutants;
pub mod nemesis;
mod not_injected;
mod oracle;
pub mod output;
mod resources;
mod retry;
mod round;
pub mod run;
pub mod schedule;
mod script;
mod server;
mod shown;
mod strace;
pub mod table;
mod trace;
mod workload;
