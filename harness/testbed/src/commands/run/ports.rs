//! Checks that the default ports are free, for a clearer error than the server's log.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Result, bail};

pub(super) fn check() -> Result<()> {
    for (port, purpose) in [(8080, "gRPC"), (8081, "probes and metrics")] {
        match TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::AddrInUse => bail!(
                "port {port} ({purpose}) is taken, perhaps by another `make run`; \
                 `ss -ltnp 'sport = :{port}'` shows by whom"
            ),
            Err(error) => bail!("port {port} ({purpose}) cannot be used: {error}"),
        }
    }
    Ok(())
}
