//! Notifications: what happened, sent to chats, webhooks and Alertmanager.
//!
//! They follow the history, and nothing waits for them. Each route collects what it takes into one message per window;
//! each receiver has a queue and a task of its own, so that one that hangs delays no other. What does not fit into a
//! queue is dropped and counted. Only the holder of the Lease collects, and it sends what it has collected.

pub mod config;
mod delivery;
pub mod metrics;
pub mod notifier;
pub mod receiver;
pub mod reload;
