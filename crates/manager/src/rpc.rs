//! The gRPC API: the services on their port, who may do what, and how a refusal becomes a status.

mod authorize;
pub mod context;
mod get;
pub mod in_flight;
mod list;
pub mod port;
pub mod service;
mod set;
mod status;
mod unknown;
