//! Real files, made by the `certs` subcommand, and real handshakes over loopback.

mod files;
mod fixture;
mod handshake;
mod identity;
mod reload;
mod server;
