//! A listener for both ports: of both address families, and surviving failures of `accept`.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt::set_ipv6_v6only;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{Instant, sleep_until};
use tracing::info;

/// How many connections may wait to be accepted.
const BACKLOG: u32 = 1024;

/// How long to pause after a failure. Most failures are a lack of file descriptors or memory, and `accept` would fail
/// again immediately.
const PAUSE: Duration = Duration::from_millis(100);

/// Binds an address. `[::]` is all addresses of both families, whatever the system's default is; without IPv6, it is all
/// IPv4 addresses.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    with_fallback(address, listen)
}

fn with_fallback<T>(address: SocketAddr, listen: impl Fn(SocketAddr) -> io::Result<T>) -> io::Result<T> {
    let is_any = address.is_ipv6() && address.ip().is_unspecified();
    match listen(address) {
        Err(error) if is_any && lacks_ipv6(&error) => {
            let ipv4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
            info!(%address, instead = %ipv4, reason = %error, "there is no IPv6: listening on IPv4 only");
            listen(ipv4)
        }
        listened => listened,
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if address.is_ipv6() {
        set_ipv6_v6only(&socket, false)?;
    }
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// The kernel has no IPv6, or it is switched off.
fn lacks_ipv6(error: &io::Error) -> bool {
    [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL]
        .map(Errno::raw_os_error)
        .map(Some)
        .contains(&error.raw_os_error())
}

/// IPv4 clients of a listener of both families have addresses such as `::ffff:192.0.2.1`. Everywhere else, one client has
/// one address.
fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => (ip, address.port()).into(),
        IpAddr::V6(_) => address,
    }
}

/// A bound listener that pauses after a failure.
#[derive(Debug)]
pub(crate) struct Listener {
    listener: TcpListener,
    paused_until: Option<Instant>,
}

impl Listener {
    pub(crate) fn new(listener: TcpListener) -> Self {
        Self { listener, paused_until: None }
    }

    /// Accepts the next connection. An error affects one connection or is temporary, so count it, log it, and call this
    /// again. Cancel safe: no connection is lost, and the pause is kept.
    pub(crate) async fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        if let Some(until) = self.paused_until {
            sleep_until(until).await;
            self.paused_until = None;
        }
        let accepted = self.listener.accept().await;
        if accepted.is_err() {
            self.paused_until = Some(Instant::now() + PAUSE);
        }
        accepted.map(|(stream, address)| (stream, canonical(address)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn clients_of_both_families_have_the_addresses_that_they_know() {
        let mut listener = Listener::new(bind("[::]:0".parse().unwrap()).unwrap());
        let port = listener.listener.local_addr().unwrap().port();
        let has_ipv6 = TcpSocket::new_v6().and_then(|socket| socket.bind("[::1]:0".parse().unwrap())).is_ok();
        for loopback in ["127.0.0.1", "::1"].iter().take(if has_ipv6 { 2 } else { 1 }) {
            let ip: IpAddr = loopback.parse().unwrap();
            let client = TcpStream::connect((ip, port)).await.unwrap();
            let (_stream, address) = listener.accept().await.unwrap();
            assert_eq!(address, client.local_addr().unwrap());
        }
    }

    #[test]
    fn only_all_addresses_fall_back_to_ipv4() {
        let check = |address: &str, errno: Errno, expected: Result<&str, Errno>| {
            let listen = |address: SocketAddr| match address {
                SocketAddr::V4(_) => Ok(address.to_string()),
                SocketAddr::V6(_) => Err(errno.into()),
            };
            let bound = with_fallback(address.parse().unwrap(), listen);
            let bound = bound.map_err(|error| error.raw_os_error().unwrap());
            assert_eq!(bound, expected.map(str::to_owned).map_err(Errno::raw_os_error), "{address}");
        };
        check("[::]:8080", Errno::AFNOSUPPORT, Ok("0.0.0.0:8080"));
        check("[::]:8080", Errno::ADDRNOTAVAIL, Ok("0.0.0.0:8080"));
        check("[::]:8080", Errno::ADDRINUSE, Err(Errno::ADDRINUSE));
        check("[::1]:8080", Errno::AFNOSUPPORT, Err(Errno::AFNOSUPPORT));
        check("127.0.0.1:8080", Errno::AFNOSUPPORT, Ok("127.0.0.1:8080"));
    }
}
