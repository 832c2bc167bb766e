//! The client of the API: how a server is reached over mutual TLS, and what went wrong when it is not.
//!
//! Everything that calls a server uses this crate, so a timeout, a limit or an error text is decided once. The order of
//! use is that of the types: an [`Address`] and [`Credentials`] make an [`Endpoint`], which opens a [`Connection`].

pub mod address;
pub mod connection;
pub mod credentials;
pub mod describe;
pub mod endpoint;
pub mod pages;
pub mod resolve;
pub mod retry;

pub use address::Address;
pub use connection::{Connection, Deployments};
pub use credentials::{CredentialFiles, Credentials};
pub use endpoint::Endpoint;
