//! What `NO_PROXY` means, exactly as in Go and so in kubectl (`golang.org/x/net/http/httpproxy`).
//!
//! No crate that is kept has that meaning: the matcher of `hyper-util` knows no ports, treats `.example.com` like
//! `example.com` and proxies loopback addresses. So the rules are here, and a table of what Go itself answers tests them.

use std::net::IpAddr;

/// The hosts that are reached without a proxy.
#[derive(Clone, Debug, Default)]
pub(super) struct NoProxy {
    is_everything: bool,
    networks: Vec<Network>,
    addresses: Vec<(IpAddr, Port)>,
    domains: Vec<Domain>,
}

/// A port as it was written; empty: any.
type Port = String;

#[derive(Clone, Debug)]
struct Network {
    address: IpAddr,
    prefix: u32,
}

#[derive(Clone, Debug)]
struct Domain {
    /// With a leading dot.
    suffix: String,
    /// Whether the name itself matches, too, and not only what is below it.
    with_itself: bool,
    port: Port,
}

impl NoProxy {
    /// Reads the value of the variable. What cannot be read is ignored, as in Go.
    pub(super) fn parse(text: &str) -> Self {
        let mut this = Self::default();
        for entry in text.split(',').map(|entry| entry.trim().to_lowercase()) {
            this.add(&entry);
        }
        this
    }

    fn add(&mut self, entry: &str) {
        if entry == "*" {
            self.is_everything = true;
            return;
        }
        if let Some(network) = Network::parse(entry) {
            self.networks.push(network);
            return;
        }
        let (host, port) = split_port(entry).unwrap_or((entry, ""));
        if let Ok(address) = host.parse::<IpAddr>() {
            self.addresses.push((address.to_canonical(), port.to_owned()));
            return;
        }
        let name = if host.starts_with("*.") { &host[1..] } else { host };
        let suffix = match name.chars().next() {
            None => return,
            Some('.') => name.to_owned(),
            Some(_) => format!(".{name}"),
        };
        let with_itself = !name.starts_with('.');
        self.domains.push(Domain { suffix, with_itself, port: port.to_owned() });
    }

    /// Whether this host and port are reached without a proxy. An IPv6 address has no brackets.
    pub(super) fn contains(&self, host: &str, port: u16) -> bool {
        let is_port = |wanted: &str| wanted.is_empty() || wanted == port.to_string();
        // Go compares this one name as it is written.
        if host == "localhost" {
            return true;
        }
        if let Ok(address) = host.parse::<IpAddr>() {
            let address = address.to_canonical();
            return address.is_loopback()
                || self.is_everything
                || self.networks.iter().any(|network| network.contains(address))
                || self.addresses.iter().any(|(known, port)| *known == address && is_port(port));
        }
        let host = host.trim().to_lowercase();
        let matches = |domain: &Domain| {
            host.ends_with(&domain.suffix) || (domain.with_itself && host == domain.suffix[1..])
        };
        self.is_everything || self.domains.iter().any(|domain| matches(domain) && is_port(&domain.port))
    }
}

impl Network {
    fn parse(entry: &str) -> Option<Self> {
        let (address, prefix) = entry.split_once('/')?;
        let address: IpAddr = address.parse().ok()?;
        let is_digits = !prefix.is_empty() && prefix.bytes().all(|byte| byte.is_ascii_digit());
        let prefix: u32 = prefix.parse().ok().filter(|_| is_digits)?;
        let network = Self { address, prefix };
        if prefix > network.bits() {
            return None;
        }
        // Go treats a network of IPv4 addresses that is written as IPv6 like one of IPv4.
        match (network.address, network.address.to_canonical()) {
            (IpAddr::V6(_), mapped @ IpAddr::V4(_)) if prefix >= 96 => {
                Some(Self { address: mapped, prefix: prefix - 96 })
            }
            _ => Some(network),
        }
    }

    fn bits(&self) -> u32 {
        if self.address.is_ipv4() { 32 } else { 128 }
    }

    fn contains(&self, address: IpAddr) -> bool {
        let number = |address: IpAddr| match address {
            IpAddr::V4(address) => u128::from(u32::from(address)),
            IpAddr::V6(address) => u128::from(address),
        };
        let differing = number(self.address) ^ number(address);
        let ignored = self.bits() - self.prefix;
        self.address.is_ipv4() == address.is_ipv4() && differing.checked_shr(ignored).unwrap_or(0) == 0
    }
}

/// Splits `host:port` and `[address]:port` like Go's `net.SplitHostPort`. `None`: there is no port.
fn split_port(entry: &str) -> Option<(&str, &str)> {
    let (host, port) = entry.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    (!host.contains(['[', ']']) && !port.contains(['[', ']'])).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The hosts of the table below, in its order.
    const HOSTS: [(&str, u16); 9] = [
        ("k8s.example.com", 443),
        ("example.com", 6443),
        ("notexample.com", 443),
        ("EXAMPLE.COM.", 6443),
        ("10.0.0.1", 443),
        ("10.0.0.1", 6443),
        ("192.168.1.1", 443),
        ("fd00::1", 6443),
        ("::ffff:10.0.0.1", 6443),
    ];

    /// What Go answers (`httpproxy.Config` of golang.org/x/net 0.60.0, run with Go 1.26.8): `-` for each host that is
    /// reached without the proxy.
    const TABLE: [(&str, &str); 49] = [
        ("", "ppppppppp"),
        ("*", "---------"),
        ("example.com", "--ppppppp"),
        (".example.com", "-pppppppp"),
        ("*.example.com", "-pppppppp"),
        ("example.com:6443", "p-ppppppp"),
        ("example.com:443", "-pppppppp"),
        (".example.com:443", "-pppppppp"),
        ("EXAMPLE.COM", "--ppppppp"),
        (" example.com , ", "--ppppppp"),
        (",,example.com,", "--ppppppp"),
        ("foo, *", "---------"),
        ("*,foo", "---------"),
        ("*x", "ppppppppp"),
        ("com", "---pppppp"),
        (".com", "---pppppp"),
        (".", "ppp-ppppp"),
        ("*.", "ppp-ppppp"),
        (":6443", "ppppppppp"),
        ("k8s.*", "ppppppppp"),
        ("[", "ppppppppp"),
        ("[]:443", "ppppppppp"),
        ("10.0.0.1", "pppp--pp-"),
        ("10.0.0.1:6443", "ppppp-pp-"),
        ("10.0.0.1:443", "pppp-pppp"),
        ("10.0.0.0/8", "pppp--pp-"),
        ("10.0.0.0/8:6443", "ppppppppp"),
        ("10.0.0.0/33", "ppppppppp"),
        ("10.0.0.7/8", "pppp--pp-"),
        ("10.0.0.", "ppppppppp"),
        ("10.", "ppppppppp"),
        ("0.0.0.0/0", "pppp---p-"),
        ("::/0", "ppppppp-p"),
        ("fd00::1", "ppppppp-p"),
        ("[fd00::1]:6443", "ppppppp-p"),
        ("[fd00::1]:443", "ppppppppp"),
        ("[fd00::1]", "ppppppppp"),
        ("fd00::/8", "ppppppp-p"),
        ("FD00:0:0::1", "ppppppp-p"),
        ("::ffff:10.0.0.1", "pppp--pp-"),
        ("::ffff:10.0.0.0/104", "pppp--pp-"),
        ("::ffff:10.0.0.0/8", "ppppppppp"),
        ("192.168.001.1", "ppppppppp"),
        ("010.0.0.1", "ppppppppp"),
        ("example.com:https", "ppppppppp"),
        ("http://example.com", "ppppppppp"),
        ("example.com/", "ppppppppp"),
        ("example.com;10.0.0.1", "ppppppppp"),
        ("example.com 10.0.0.1", "ppppppppp"),
    ];

    #[test]
    fn means_what_go_means() {
        for (text, expected) in TABLE {
            let no_proxy = NoProxy::parse(text);
            let answers = HOSTS.map(|(host, port)| if no_proxy.contains(host, port) { '-' } else { 'p' });
            assert_eq!(answers.iter().collect::<String>(), expected, "{text:?}");
        }
    }

    #[test]
    fn this_machine_is_never_reached_through_a_proxy() {
        let check = |host: &str, expected: bool| {
            assert_eq!(NoProxy::default().contains(host, 6443), expected, "{host}");
        };
        for host in ["localhost", "127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            check(host, true);
        }
        // Go does not count these.
        for host in ["LOCALHOST", "localhost.", "a.localhost", "0.0.0.0", "::"] {
            check(host, false);
        }
    }
}
