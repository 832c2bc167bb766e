//! The network: both ports, mutual TLS, and limits for peers.

pub mod http;
pub(crate) mod listener;
mod pending;
pub(crate) mod quota;
pub mod tls;
