//! Free loopback ports for children.

use std::net::{Ipv4Addr, TcpListener};
use std::ops::RangeInclusive;

use anyhow::{Result, bail};

/// Below the ephemeral ports of Linux. An outgoing connection could take an ephemeral port while the API server is
/// briefly down, and could even connect to itself.
const RANGE: RangeInclusive<u16> = 20_000..=31_999;

const ATTEMPTS: usize = 100;

/// A port that is currently free. Another process may still take it first, so the caller must be ready to retry.
pub(crate) fn free() -> Result<u16> {
    for _ in 0..ATTEMPTS {
        let port = fastrand::u16(RANGE);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free loopback port from {} to {}", RANGE.start(), RANGE.end())
}

/// Whether a program's log reports that its port was taken.
pub(crate) fn was_taken(log: &str) -> bool {
    log.contains("address already in use")
}
