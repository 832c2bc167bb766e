//! The answers and refusals of the RPCs.

mod changes;
mod concurrent;
mod get;
mod list;
mod long_lists;
mod names;
mod refusals;
mod unread;
