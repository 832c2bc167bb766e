//! Loopback ports that a child can bind.

use std::net::{Ipv4Addr, TcpListener};
use std::ops::RangeInclusive;

use anyhow::{Result, bail};

/// Below the ports that Linux gives to outgoing connections. One of those could take the port while the API server is
/// down for a moment, and even be connected to itself.
const RANGE: RangeInclusive<u16> = 20_000..=31_999;

const ATTEMPTS: usize = 100;

/// A port that is free at this moment. Another process may still be quicker, so who uses it must be ready to try again.
pub(crate) fn free() -> Result<u16> {
    for _ in 0..ATTEMPTS {
        let port = fastrand::u16(RANGE);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free loopback port from {} to {}", RANGE.start(), RANGE.end())
}

/// Whether a program's log says that its port was taken.
pub(crate) fn was_taken(log: &str) -> bool {
    log.contains("address already in use")
}
