//! The address of a server.

use std::fmt::{self, Display};
use std::net::{Ipv6Addr, SocketAddr};
use std::num::NonZeroU16;
use std::str::FromStr;

use rustls::pki_types::ServerName;

/// The host and the port of a server, as `HOST:PORT`. An IPv6 address is in brackets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// A DNS name or an IP address, without brackets.
    host: String,
    port: u16,
}

/// Why a text is not an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// There is no host, or no port.
    #[error("write HOST:PORT, for example localhost:8080 or [::1]:8080")]
    Incomplete,
    /// It is a URL.
    #[error("write HOST:PORT, without a scheme and a path")]
    Url,
    /// An IPv6 address without brackets, so where the port begins is ambiguous.
    #[error("put an IPv6 address in brackets, for example [::1]:8080")]
    NoBrackets,
    /// The part before the port is not a host.
    #[error("{0:?} is not a DNS name or an IP address")]
    Host(String),
    /// The part after the host is not a port.
    #[error("{0:?} is not a port: use a number from 1 to 65535")]
    Port(String),
}

impl Address {
    /// The DNS name or the IP address, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if text.contains("://") {
            return Err(AddressError::Url);
        }
        let bracketed = text.strip_prefix('[');
        let parts = match bracketed {
            Some(rest) => rest.split_once("]:"),
            None => text.rsplit_once(':'),
        };
        let (host, port) = parts.ok_or(AddressError::Incomplete)?;
        if bracketed.is_none() && host.contains(':') {
            return Err(AddressError::NoBrackets);
        }
        if host.is_empty() || port.is_empty() {
            return Err(AddressError::Incomplete);
        }
        let is_host = match bracketed {
            Some(_) => host.parse::<Ipv6Addr>().is_ok(),
            None => ServerName::try_from(host).is_ok(),
        };
        if !is_host {
            return Err(AddressError::Host(host.to_owned()));
        }
        match port.parse::<NonZeroU16>() {
            Ok(number) if !port.starts_with('+') => Ok(Self { host: host.to_owned(), port: number.get() }),
            _ => Err(AddressError::Port(port.to_owned())),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self { host: address.ip().to_string(), port: address.port() }
    }
}

impl Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, host: &str, port: u16) {
        let address: Address = text.parse().expect("valid");
        assert_eq!((address.host(), address.port), (host, port));
        assert_eq!(address.to_string(), text);
    }

    #[track_caller]
    fn check_refused(text: &str, expected: &AddressError) {
        assert_eq!(text.parse::<Address>().as_ref(), Err(expected), "{text:?}");
    }

    #[test]
    fn an_address_has_a_host_and_a_port() {
        check("localhost:8080", "localhost", 8080);
        check("replicas_1.example.com:1", "replicas_1.example.com", 1);
        check("192.0.2.10:65535", "192.0.2.10", 65535);
        check("[::1]:8080", "::1", 8080);
    }

    #[test]
    fn errors_name_what_is_missing_or_invalid() {
        for text in ["", ":", "localhost", "localhost:", ":8080", "[::1]", "[::1]:", "[::1:8080"] {
            check_refused(text, &AddressError::Incomplete);
        }
        for text in ["https://localhost:8080", "http://localhost", "dns:///localhost:8080"] {
            check_refused(text, &AddressError::Url);
        }
        for text in ["::1", "::1:8080", "2001:db8::1:8080", "2001:db8::"] {
            check_refused(text, &AddressError::NoBrackets);
        }
        for (text, host) in [
            ("someone@localhost:8080", "someone@localhost"),
            ("local host:8080", "local host"),
            ("localhost/path:8080", "localhost/path"),
            ("192.0.2.256:8080", "192.0.2.256"),
            ("[localhost]:8080", "localhost"),
            ("[fe80::1%eth0]:8080", "fe80::1%eth0"),
        ] {
            check_refused(text, &AddressError::Host(host.to_owned()));
        }
        for port in ["0", "65536", "-1", "+80", " 80", "grpc"] {
            check_refused(&format!("localhost:{port}"), &AddressError::Port(port.to_owned()));
        }
    }

    #[test]
    fn a_socket_address_is_an_address() {
        for text in ["192.0.2.10:8080", "[2001:db8::1]:8080"] {
            let socket: SocketAddr = text.parse().expect("valid");
            assert_eq!(Ok(Address::from(socket)), text.parse());
        }
    }
}
