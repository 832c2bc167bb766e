//! The process: its command line, what it validates, binds and starts, and how it ends.

pub mod args;
pub mod check;
pub mod command;
mod health;
mod log;
pub mod moved;
mod running;
pub mod serve;
mod shared;
mod signals;
mod tasks;
mod watches;
