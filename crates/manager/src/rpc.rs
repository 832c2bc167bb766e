//! The gRPC API: the services on their port, authorization, and the mapping of errors to statuses.

pub mod authorize;
pub mod calls;
pub mod context;
mod events;
mod get;
pub mod in_flight;
mod list;
pub mod list_queue;
pub mod port;
pub mod service;
mod set;
mod state_reason;
mod status;
mod unknown;
mod watch;
