//! Placeholder.

pub mod certs;
mod listener;
pub mod tls;
