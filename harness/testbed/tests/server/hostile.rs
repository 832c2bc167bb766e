//! Peers that mean harm, each kind against a server of its own: its memory stays bounded, and good clients are served.

mod continuation;
mod crowds;
mod empty_frames;
mod half_open;
mod oversized;
mod probes;
mod rapid_reset;
mod reflection;
mod siege;
mod slow_handshakes;
mod slow_readers;
