//! Who may use the local server: the browser window that was opened for it, and nobody else.
//!
//! Any program on this machine can connect to the port, and any web site that the user visits can make the browser send
//! requests to it. So a request needs the token, the right `Host` (a foreign one means that a name of the attacker points
//! to this machine), and, where the browser says where it comes from, this server as its origin.
//!
//! The browser is started with a ticket instead of the token, because other users of the machine can read the command
//! lines of programs. A ticket is good for one request, so whoever is faster than the browser is noticed by its user.

use std::fmt::{self, Write as _};
use std::sync::Mutex;

use axum::http::{HeaderMap, Method, Uri, header};
use rustls::crypto::aws_lc_rs;

/// Bytes of a secret.
const SECRET_BYTES: usize = 32;

/// A random text that cannot be guessed.
#[derive(Clone)]
pub(super) struct Secret(String);

/// What a request must prove, for a server on a port.
#[derive(Debug)]
pub(super) struct Access {
    /// `Host` of a request, and without its scheme the `Origin`.
    hosts: [String; 2],
    token: Secret,
    ticket: Mutex<Option<Secret>>,
}

/// Why a request is refused. The text is for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// It was sent to another name.
    #[error("this server has another name: use the URL that `kubectl replicas ui` printed")]
    Host,
    /// It comes from another web site.
    #[error("requests of other web sites are refused")]
    Origin,
    /// It has no token, or a wrong one.
    #[error("the token is missing or wrong: use the URL that `kubectl replicas ui` printed")]
    Token,
}

/// What opens the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opened {
    /// The token: the page can be shown.
    Page,
    /// A ticket: the browser is sent to the address with the token.
    Ticket,
}

/// What is requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The page itself.
    Page,
    /// A file that it loads. It holds nothing secret.
    File,
    /// A call of the page's script.
    Api,
}

impl Secret {
    /// A new secret.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub(super) fn new() -> Result<Self, rustls::Error> {
        let mut bytes = [0; SECRET_BYTES];
        aws_lc_rs::default_provider().secure_random.fill(&mut bytes)?;
        let mut text = String::new();
        for byte in bytes {
            let _ = write!(text, "{byte:02x}");
        }
        Ok(Self(text))
    }

    /// The text.
    pub(super) fn text(&self) -> &str {
        &self.0
    }

    /// Compares every byte, so that the time tells nothing about the first difference.
    fn is(&self, other: &str) -> bool {
        let differences = self.0.bytes().zip(other.bytes()).fold(0, |sum, (one, other)| sum | (one ^ other));
        self.0.len() == other.len() && differences == 0
    }
}

/// Shows nothing.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret").finish_non_exhaustive()
    }
}

impl Access {
    /// Access to a server on this port of the loopback address.
    pub(super) fn new(port: u16, token: Secret, ticket: Secret) -> Self {
        let hosts = ["127.0.0.1", "localhost"].map(|name| format!("{name}:{port}"));
        Self { hosts, token, ticket: Mutex::new(Some(ticket)) }
    }

    /// The address of the page.
    pub(super) fn url(&self) -> String {
        format!("http://{}{}", self.hosts[0], self.path())
    }

    /// The path of the page, with the token.
    pub(super) fn path(&self) -> String {
        format!("/?token={}", self.token.text())
    }

    /// Checks everything but what opens the page.
    ///
    /// # Errors
    /// The request is refused.
    pub(super) fn check(&self, part: Part, method: &Method, headers: &HeaderMap) -> Result<(), Refusal> {
        let host = single(headers, &header::HOST).ok_or(Refusal::Host)?;
        if !self.hosts.iter().any(|expected| expected == host) {
            return Err(Refusal::Host);
        }
        if headers.contains_key(header::ORIGIN) {
            let origin = single(headers, &header::ORIGIN);
            if origin.and_then(|origin| origin.strip_prefix("http://")) != Some(host) {
                return Err(Refusal::Origin);
            }
        } else if method != Method::GET {
            // Browsers never leave it out.
            return Err(Refusal::Origin);
        }
        match part {
            // A link to the page may be anywhere, for example in a terminal in a browser. The token decides.
            Part::Page => Ok(()),
            Part::File => is_from_the_page(headers),
            Part::Api => {
                is_from_the_page(headers)?;
                let authorization = single(headers, &header::AUTHORIZATION).unwrap_or_default();
                let token = authorization.strip_prefix("Bearer ").ok_or(Refusal::Token)?;
                if self.token.is(token) { Ok(()) } else { Err(Refusal::Token) }
            }
        }
    }

    /// Checks what opens the page: the query of its address.
    ///
    /// # Errors
    /// The token is wrong, or the ticket has been used.
    pub(super) fn open(&self, uri: &Uri) -> Result<Opened, Refusal> {
        let query = uri.query().unwrap_or_default();
        if query.strip_prefix("token=").is_some_and(|token| self.token.is(token)) {
            return Ok(Opened::Page);
        }
        let ticket = query.strip_prefix("ticket=").ok_or(Refusal::Token)?;
        let mut expected = self.ticket.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if expected.as_ref().is_some_and(|expected| expected.is(ticket)) {
            *expected = None;
            return Ok(Opened::Ticket);
        }
        Err(Refusal::Token)
    }
}

/// Browsers say whether a request comes from a page of the same origin. Other programs do not say it.
fn is_from_the_page(headers: &HeaderMap) -> Result<(), Refusal> {
    match headers.get("sec-fetch-site") {
        Some(site) if site != "same-origin" => Err(Refusal::Origin),
        Some(_) | None => Ok(()),
    }
}

/// The value of a header that is there once.
fn single<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    if values.next().is_some() { None } else { value.to_str().ok() }
}

#[cfg(test)]
mod tests;
