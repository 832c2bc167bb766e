//! The process: its command line, validation, start and shutdown.

pub mod args;
pub mod check;
pub mod command;
mod health;
pub mod leader;
mod log;
pub mod moved;
pub mod notify;
mod running;
pub mod serve;
mod shared;
mod signals;
mod tasks;
mod telling;
pub mod transfer;
mod watches;
