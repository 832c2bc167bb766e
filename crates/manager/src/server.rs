//! The process: its command line, validation, start and shutdown.

pub mod args;
pub mod check;
pub mod command;
mod health;
pub mod leader;
mod log;
pub mod moved;
mod running;
pub mod serve;
mod shared;
mod signals;
mod tasks;
pub mod transfer;
mod watches;
