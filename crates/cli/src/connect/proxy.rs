//! Whether the API server is reached without the proxy of the environment: the rules of Go, which kubectl follows.

use std::net::IpAddr;

/// Whether `NO_PROXY` exempts a host. Hosts of this machine are always exempt.
pub(super) fn is_exempt(host: &str, no_proxy: &str) -> bool {
    let host = host.trim_matches(['[', ']']).to_ascii_lowercase();
    let address: Option<IpAddr> = host.parse().ok();
    if host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
        return true;
    }
    no_proxy.split(',').map(str::trim).filter(|entry| !entry.is_empty()).any(|entry| {
        let entry = entry.to_ascii_lowercase();
        match (address, entry.split_once('/')) {
            _ if entry == "*" || entry == host => true,
            (Some(address), Some((network, bits))) => is_in(address, network, bits),
            (Some(_), None) | (None, Some(_)) => false,
            (None, None) => {
                let domain = entry.trim_start_matches("*.").trim_start_matches('.');
                host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'))
            }
        }
    })
}

/// Whether an address is in a network, such as `10.0.0.0` with `8` bits.
fn is_in(address: IpAddr, network: &str, bits: &str) -> bool {
    let (Ok(network), Ok(bits)) = (network.parse::<IpAddr>(), bits.parse::<u32>()) else { return false };
    match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) if bits <= 32 => {
            (address.to_bits() ^ network.to_bits()).checked_shr(32 - bits).unwrap_or_default() == 0
        }
        (IpAddr::V6(address), IpAddr::V6(network)) if bits <= 128 => {
            (address.to_bits() ^ network.to_bits()).checked_shr(128 - bits).unwrap_or_default() == 0
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_domains_and_networks_are_exempt() {
        for (host, no_proxy, expected) in [
            ("localhost", "", true),
            ("127.0.0.1", "", true),
            ("[::1]", "", true),
            ("10.1.2.3", "", false),
            ("10.1.2.3", "10.0.0.0/8", true),
            ("10.1.2.3", "11.0.0.0/8,", false),
            ("10.1.2.3", "0.0.0.0/0", true),
            ("10.1.2.3", "example.com, 10.1.2.3", true),
            ("2001:db8::1", "2001:db8::/32", true),
            ("api.example.com", "example.com", true),
            ("api.example.com", ".example.com", true),
            ("api.example.com", "*.example.com", true),
            ("api.example.com", "other.com", false),
            ("badexample.com", "example.com", false),
            ("example.com", "Example.com", true),
            ("api.example.com", "*", true),
        ] {
            assert_eq!(is_exempt(host, no_proxy), expected, "{host} {no_proxy:?}");
        }
    }
}
