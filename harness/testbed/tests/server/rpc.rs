//! What the RPCs answer, and what they refuse.

mod changes;
mod concurrent;
mod get;
mod list;
mod names;
mod refusals;
mod unread;
