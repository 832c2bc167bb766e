//! Mutual TLS: which clients may connect, and who they are.
//!
//! [`load`] turns three files into [`Credentials`], [`reload`] polls the files while the server runs, and [`acceptor`]
//! turns sockets into connections with a known [`identity`]. Only TLS 1.3 and HTTP/2 are accepted, and a client
//! certificate is required.

pub mod acceptor;
mod connection;
mod credentials;
mod expiry;
mod files;
pub mod identity;
pub mod metrics;
mod refusal;
pub mod reload;
#[cfg(test)]
mod tests;
mod trust;

pub use connection::{Connection, Peer};
pub use credentials::{Credentials, load};
pub use files::{AuthorityFile, Problem, TlsError, TlsFiles};
