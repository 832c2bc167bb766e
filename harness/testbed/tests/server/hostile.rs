//! Attacks, each against its own server: memory stays bounded, and good clients are served.

mod attacked_server;
mod continuation;
mod empty_frames;
mod half_open;
mod many_connections;
mod oversized;
mod probes;
mod rapid_reset;
mod reflection;
mod slow_handshakes;
mod slow_readers;
