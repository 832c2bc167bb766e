//! The answers and refusals of the RPCs.

mod changes;
mod concurrent;
mod get;
mod list;
mod names;
mod refusals;
mod unread;
