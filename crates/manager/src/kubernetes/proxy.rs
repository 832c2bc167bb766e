//! Which proxy leads to the API server: the one that the kubeconfig names, or else that of the environment, as for
//! kubectl.

mod no_proxy;

use std::env;
use std::fmt;
use std::sync::Arc;

use http::uri::{Authority, Scheme};
use http::{HeaderValue, Uri};
use percent_encoding::percent_decode_str;

use self::no_proxy::NoProxy;
use super::credentials::basic;

const NOT_A_URL: &str =
    "this is not the URL of a proxy; write http://HOST:PORT, or http://USER:PASSWORD@HOST:PORT";

/// A proxy.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Proxy {
    pub(super) protocol: Protocol,
    /// `host:port` or `[address]:port`.
    pub(super) address: Authority,
    pub(super) credentials: Option<ProxyCredentials>,
}

/// How a proxy is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// HTTP CONNECT.
    Http,
    /// HTTP CONNECT through TLS.
    Https,
    /// SOCKS 5; the proxy resolves names.
    Socks5,
}

/// What a proxy demands. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct ProxyCredentials {
    pub(super) user: String,
    pub(super) password: String,
}

/// Why a proxy cannot be used. The value is not shown: it may contain a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {reason}")]
pub(super) struct ProxyError {
    /// The variable or the key.
    place: &'static str,
    reason: String,
}

impl Proxy {
    /// Parses a URL, or `host:port` for HTTP. `place` is where it was found.
    pub(super) fn parse(place: &'static str, text: &str) -> Result<Self, ProxyError> {
        let refused = |reason: String| ProxyError { place, reason };
        let text = text.trim();
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        let protocol = match scheme.to_ascii_lowercase().as_str() {
            "http" => Protocol::Http,
            "https" => Protocol::Https,
            "socks5" | "socks5h" => Protocol::Socks5,
            other if other.bytes().all(|byte| byte.is_ascii_alphanumeric()) && !other.is_empty() => {
                return Err(refused(format!("{scheme:?} is no kind of proxy; use http, https or socks5")));
            }
            // It may be a part of a password.
            _ => return Err(refused(NOT_A_URL.to_owned())),
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let (credentials, address) = match authority.rsplit_once('@') {
            Some((credentials, address)) => (Some(ProxyCredentials::parse(credentials)), address),
            None => (None, authority),
        };
        let parsed: Result<Authority, _> = address.parse();
        let parsed = parsed.ok().filter(|address| !address.host().is_empty() && !has_bad_port(address));
        let parsed = parsed.ok_or_else(|| refused(NOT_A_URL.to_owned()))?;
        let address = match parsed.port() {
            Some(_) => parsed,
            None => format!("{}:{}", parsed.host(), protocol.default_port())
                .parse()
                .map_err(|_| refused(NOT_A_URL.to_owned()))?,
        };
        Ok(Self { protocol, address, credentials })
    }

    /// The address to connect to.
    pub(super) fn uri(&self) -> Uri {
        let scheme = match self.protocol {
            Protocol::Https => Scheme::HTTPS,
            Protocol::Http | Protocol::Socks5 => Scheme::HTTP,
        };
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(scheme);
        parts.authority = Some(self.address.clone());
        parts.path_and_query = Some(http::uri::PathAndQuery::from_static("/"));
        Uri::from_parts(parts).expect("it has a scheme, an authority and a path")
    }
}

/// Without credentials.
impl fmt::Display for Proxy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}://{}", self.protocol.scheme(), self.address)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl Protocol {
    fn scheme(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Socks5 => "socks5",
        }
    }

    fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
            Self::Socks5 => 1080,
        }
    }
}

impl ProxyCredentials {
    /// Parses `user:password`, in which special characters are escaped as in every URL.
    fn parse(text: &str) -> Self {
        let (user, password) = text.split_once(':').unwrap_or((text, ""));
        let unescape = |text| percent_decode_str(text).decode_utf8_lossy().into_owned();
        Self { user: unescape(user), password: unescape(password) }
    }

    /// The value of the header `Proxy-Authorization`.
    pub(super) fn basic(&self) -> HeaderValue {
        basic(&self.user, &self.password)
    }
}

fn has_bad_port(address: &Authority) -> bool {
    let after_host = &address.as_str()[address.host().len()..];
    !after_host.is_empty() && address.port_u16().is_none_or(|port| port == 0)
}

/// The proxies of the environment. Not to be shown: their URLs may contain passwords.
#[derive(Clone, Default)]
pub(super) struct Environment {
    http: Option<(&'static str, Arc<str>)>,
    https: Option<(&'static str, Arc<str>)>,
    no_proxy: NoProxy,
}

impl Environment {
    /// Reads the variables of this process.
    pub(super) fn read() -> Self {
        Self::from(|name| env::var(name).ok())
    }

    fn from(variable: impl Fn(&str) -> Option<String>) -> Self {
        // The first that is set and not empty counts.
        let first = |names: [&'static str; 2]| {
            names.into_iter().find_map(|name| {
                let value = variable(name).filter(|value| !value.is_empty())?;
                Some((name, Arc::from(value)))
            })
        };
        Self {
            http: first(["HTTP_PROXY", "http_proxy"]),
            https: first(["HTTPS_PROXY", "https_proxy"]),
            no_proxy: first(["NO_PROXY", "no_proxy"])
                .map_or_else(NoProxy::default, |(_, text)| NoProxy::parse(&text)),
        }
    }

    /// The proxy for this address. `None`: it is reached directly.
    pub(super) fn proxy(&self, server: &Uri) -> Result<Option<Proxy>, ProxyError> {
        let (chosen, default_port) = if server.scheme() == Some(&Scheme::HTTPS) {
            (self.https.as_ref(), 443)
        } else {
            (self.http.as_ref(), 80)
        };
        let Some((place, text)) = chosen else { return Ok(None) };
        let host = server.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        if self.no_proxy.contains(host, server.port_u16().unwrap_or(default_port)) {
            return Ok(None);
        }
        Proxy::parse(place, text).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        Environment::from(|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[track_caller]
    fn check(variables: &[(&str, &str)], server: &str, expected: Option<&str>) {
        let proxy = environment(variables).proxy(&server.parse().expect("valid")).expect("usable");
        assert_eq!(proxy.map(|proxy| proxy.to_string()).as_deref(), expected, "{variables:?} {server}");
    }

    #[test]
    fn the_environment_names_the_proxy() {
        let server = "https://k8s.example.com:6443";
        check(&[], server, None);
        check(&[("HTTPS_PROXY", "http://proxy:3128")], server, Some("http://proxy:3128"));
        check(&[("https_proxy", "proxy:3128")], server, Some("http://proxy:3128"));
        check(&[("HTTPS_PROXY", ""), ("https_proxy", "proxy")], server, Some("http://proxy:80"));
        check(&[("HTTPS_PROXY", "a:1"), ("https_proxy", "b:1")], server, Some("http://a:1"));
        check(&[("HTTP_PROXY", "proxy:3128")], server, None);
        check(&[("ALL_PROXY", "proxy:3128")], server, None);
        check(&[("HTTP_PROXY", "proxy:3128")], "http://k8s.example.com", Some("http://proxy:3128"));
        let with_exception = [("HTTPS_PROXY", "proxy:3128"), ("NO_PROXY", ".example.com:6443")];
        check(&with_exception, server, None);
        check(&with_exception, "https://k8s.example.com", Some("http://proxy:3128"));
        check(&[("HTTPS_PROXY", "proxy:1"), ("no_proxy", "k8s.example.com")], server, None);
        check(&[("HTTPS_PROXY", "proxy:1")], "https://127.0.0.1:6443", None);
        check(&[("HTTPS_PROXY", "proxy:1"), ("NO_PROXY", "fd00::/8")], "https://[fd00::1]:6443", None);
    }

    #[test]
    fn a_proxy_is_a_url() {
        let check = |text: &str, shown: &str, uri: &str, credentials: Option<(&str, &str)>| {
            let proxy = Proxy::parse("HTTPS_PROXY", text).expect(text);
            assert_eq!((proxy.to_string().as_str(), proxy.uri().to_string().as_str()), (shown, uri));
            assert_eq!(format!("{proxy:?}"), shown);
            let expected = credentials
                .map(|(user, password)| ProxyCredentials { user: user.into(), password: password.into() });
            assert!(proxy.credentials == expected, "{text}");
        };
        check("http://proxy", "http://proxy:80", "http://proxy:80/", None);
        check(" HTTP://proxy:3128/ \n", "http://proxy:3128", "http://proxy:3128/", None);
        check("https://proxy", "https://proxy:443", "https://proxy:443/", None);
        check("socks5://proxy", "socks5://proxy:1080", "http://proxy:1080/", None);
        check("socks5h://[::1]:1081", "socks5://[::1]:1081", "http://[::1]:1081/", None);
        let (shown, uri) = ("http://proxy:3128", "http://proxy:3128/");
        check("http://me:p%40ss%3a%@proxy:3128", shown, uri, Some(("me", "p@ss:%")));
        check("me@proxy:3128", shown, uri, Some(("me", "")));
        check("http://me:p@ss@proxy:3128", shown, uri, Some(("me", "p@ss")));
    }

    #[test]
    fn what_is_no_proxy_is_named_without_its_password() {
        let check = |text: &str, words: &str| {
            let refused = Proxy::parse("HTTPS_PROXY", text).expect_err(text).to_string();
            assert!(refused.starts_with("HTTPS_PROXY: ") && refused.contains(words), "{text}: {refused}");
            assert!(!refused.contains("secret"), "{refused}");
        };
        check("ftp://me:secret@proxy", "\"ftp\" is no kind of proxy");
        let others =
            ["http://", "http://me:secret@", "http://me:secret@:80", "http://me:secret@proxy:port", "://x"];
        for text in others.into_iter().chain([
            "http://me:secret@pro xy",
            "http://me:secret@proxy:0",
            "me:secret://@proxy:3128",
        ]) {
            check(text, "not the URL of a proxy");
        }
    }

    #[test]
    fn credentials_are_sent_as_a_header() {
        let proxy = Proxy::parse("HTTPS_PROXY", "http://Aladdin:open%20sesame@proxy").expect("valid");
        let header = proxy.credentials.expect("has them").basic();
        assert_eq!(header, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert_eq!(format!("{header:?}"), "Sensitive");
    }
}
