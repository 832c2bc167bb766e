//! Placeholder.

pub mod certs;
pub mod http;
mod listener;
pub mod tls;
