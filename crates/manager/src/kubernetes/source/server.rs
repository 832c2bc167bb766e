//! The address of the API server.

use http::Uri;
use kube::config::Cluster;

/// The address of the API server. Without a scheme, it is that of TLS if there is anything about TLS.
pub(super) fn of(cluster: &Cluster) -> Result<Uri, String> {
    let text = cluster.server.as_deref().unwrap_or_default().trim();
    let has_tls =
        cluster.certificate_authority_data.is_some() || cluster.insecure_skip_tls_verify == Some(true);
    if text.is_empty() {
        return Err("the cluster has no server".to_owned());
    }
    if text.contains("://") {
        return parse(text);
    }
    parse(&format!("{}://{text}", if has_tls { "https" } else { "http" }))
}

/// Parses the address of an API server.
pub(super) fn parse(url: &str) -> Result<Uri, String> {
    let refused = |reason: &str| Err(format!("server {url:?}: {reason}"));
    let Ok(server) = url.parse::<Uri>() else { return refused("this is not a URL") };
    let Some(authority) = server.authority().filter(|authority| !authority.host().is_empty()) else {
        return refused("this names no host");
    };
    // The library accepts any text as a port.
    let has_port = authority.as_str().len() > authority.host().len();
    match server.scheme_str() {
        Some("http" | "https") if has_port && authority.port_u16().is_none() => {
            refused("its port is not a number")
        }
        Some("http" | "https") => Ok(server),
        Some(_) | None => refused("this is neither http nor https"),
    }
}
