//! Tests with real files, created by `kubectl-replicas certs`, and real handshakes over loopback.

mod files;
mod fixture;
mod handshake;
mod identity;
mod reload;
mod server;
