//! The client of the API: connects to a server over mutual TLS, and describes what went wrong.
//!
//! Everything that calls a server uses this crate, so timeouts, limits and error texts are defined once. An
//! [`Endpoint`] is created from an [`Address`] and [`Credentials`], and opens a [`Connection`].

pub mod address;
pub mod connection;
pub mod credentials;
pub mod describe;
pub mod dial;
pub mod endpoint;
pub mod pages;
pub mod resolve;
pub mod retry;

pub use address::Address;
pub use connection::{Connection, Deployments};
pub use credentials::{CredentialFiles, Credentials};
pub use endpoint::Endpoint;
