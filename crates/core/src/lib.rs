//! The domain of Replica Count Manager, without I/O.
//!
//! Nothing here reads a clock, a file, a socket or the environment: time and randomness are parameters, so every rule
//! can be tested as a table. The words are those of `DESIGN.md`.

pub mod change;
pub mod replicas;
pub mod setting;
pub mod settings_file;
pub mod target;
