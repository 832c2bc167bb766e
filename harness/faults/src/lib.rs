//! Fault injection: the real server before a real API server, with faults, crashes and broken disks between and below them, drawn
//! from a seed; and the oracles that say whether it kept its promises. `docs/RELIABILITY.md` says which these are.
//!
//! A *round* has a schedule, which follows from its seed. It starts a server behind a fault proxy, lets clients ask and
//! others change the cluster, ends all faults, waits until everything is as desired, and judges what was told and sent.

pub mod all;
pub mod arrival;
mod certificate_files;
mod cluster_changes;
mod disk;
pub mod history;
pub mod linearizability;
mod load;
mod missed;
pub mod mutants;
pub mod nemesis;
mod oracle;
pub mod output;
mod patience;
mod round;
pub mod run;
pub mod schedule;
mod script;
mod server;
pub mod stage;
mod strace;
pub mod table;
mod trace;
