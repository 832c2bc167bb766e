//! The edges towards the network: both ports, mutual TLS, limits for peers, and names of hosts.

pub mod http;
mod listener;
mod pending;
pub(crate) mod quota;
pub(crate) mod resolve;
pub mod tls;
