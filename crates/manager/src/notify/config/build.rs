//! Makes receivers and routes of what was read. The first error is reported.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Uri};
use replica_count_core::kind::Kind;
use replica_count_core::notice::filter::RouteFilter;
use replica_count_core::notice::link::Link;
use replica_count_core::notice::signature::{SECRET_BYTES, SECRET_PREFIX};
use replica_count_core::target::check_namespace;
use replica_count_core::words::{self, Severity};
use serde_saphyr::Spanned;

use super::error::ConfigError;
use super::file::{Destination, ReceiverEntry, RouteEntry};
use super::snapshot::Snapshot;
use super::{Config, Route, WINDOW};
use crate::kubernetes::outbound::{HttpVersion, Outbound, authorities};
use crate::notify::receiver::{Receiver, Service};

/// The path of Alertmanager's API after the URL.
const ALERTS_PATH: &str = "/api/v2/alerts";
/// The shortest and the longest window, in seconds.
const WINDOWS: std::ops::RangeInclusive<u64> = 1..=3600;

type Result<T> = std::result::Result<T, ConfigError>;

pub(super) fn config(snapshot: &Snapshot) -> Result<Config> {
    let file = &snapshot.file;
    let builder = Builder { snapshot };
    let window = file.window.as_ref().map_or(Ok(WINDOW), |window| builder.window(window))?;
    let mut receivers = BTreeMap::new();
    for entry in &file.receivers {
        let receiver = Arc::new(builder.receiver(entry)?);
        if receivers.insert(receiver.name.clone(), receiver).is_some() {
            return Err(builder.error(&entry.name, format!("there are two receivers {:?}", entry.name.value)));
        }
    }
    let (mut routes, mut names) = (Vec::new(), BTreeSet::new());
    for entry in &file.routes {
        if !names.insert(&entry.name.value) {
            return Err(builder.error(&entry.name, format!("there are two routes {:?}", entry.name.value)));
        }
        if !receivers.contains_key(&entry.receiver.value) {
            let known = receivers.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            let reason = format!("there is no receiver {:?}; there are: {known}", entry.receiver.value);
            return Err(builder.error(&entry.receiver, reason));
        }
        routes.push(Arc::new(builder.route(entry, window)?));
    }
    let links = file
        .links
        .iter()
        .map(|link| Link::new(&link.text, &link.url.value).map_err(|error| builder.error(&link.url, error)));
    Ok(Config { receivers, routes, links: links.collect::<Result<_>>()? })
}

struct Builder<'a> {
    snapshot: &'a Snapshot,
}

impl Builder<'_> {
    fn error<T>(&self, value: &Spanned<T>, reason: impl fmt::Display) -> ConfigError {
        ConfigError::at(&self.snapshot.path, value, reason)
    }

    fn receiver(&self, entry: &ReceiverEntry) -> Result<Receiver> {
        let mut given = entry
            .destinations()
            .into_iter()
            .zip(Service::ALL)
            .filter_map(|(destination, service)| destination.map(|destination| (destination, service)));
        let (Some((destination, service)), None) = (given.next(), given.next()) else {
            let services = Service::ALL.map(Service::as_str).join(", ");
            return Err(self.error(&entry.name, format!("a receiver has exactly one of: {services}")));
        };
        let url = self.url(entry, destination, service)?;
        let place = destination.ca_file.as_ref();
        let authorities = place.map(|file| self.authorities(file)).transpose()?;
        let outbound = Outbound::new(&url, authorities, HttpVersion::One)
            .map_err(|error| self.error(&entry.name, error))?;
        let keys = match &destination.signing_key_file {
            Some(file) if service == Service::Webhook => self.keys(file)?,
            Some(file) => return Err(self.error(file, "only messages of a webhook are signed")),
            None => Vec::new(),
        };
        let authorization = match &destination.bearer_token_file {
            Some(file) if matches!(service, Service::Webhook | Service::Alertmanager) => {
                let value = HeaderValue::from_str(&format!("Bearer {}", self.snapshot.line(file)?));
                let mut value = value.map_err(|_| self.error(file, "its content is no token"))?;
                value.set_sensitive(true);
                Some(value)
            }
            Some(file) => {
                return Err(self.error(file, "only a webhook and an Alertmanager take a token"));
            }
            None => None,
        };
        Ok(Receiver { name: entry.name.value.clone(), service, url, authorization, keys, outbound })
    }

    /// The URL, which is not shown in errors if it is a secret.
    fn url(&self, entry: &ReceiverEntry, destination: &Destination, service: Service) -> Result<Uri> {
        let is_secret = matches!(service, Service::Slack | Service::Teams);
        let (text, uri) = match (&destination.url, &destination.url_file) {
            (Some(url), None) if is_secret => {
                return Err(
                    self.error(url, "this URL is a secret: put it into a file, and name that as urlFile")
                );
            }
            (Some(url), None) => {
                let parsed = web_url(&url.value, service).map_err(|reason| self.error(url, reason))?;
                (&*url.value, parsed)
            }
            (None, Some(file)) => {
                let text = self.snapshot.line(file)?;
                let parsed = web_url(text, service).map_err(|reason| {
                    self.error(file, format!("the content of {}: {reason}", file.value.display()))
                })?;
                (text, parsed)
            }
            (Some(_), Some(file)) => return Err(self.error(file, "there is a url, too: choose one")),
            (None, None) => return Err(self.error(&entry.name, "a receiver has a url or a urlFile")),
        };
        if service != Service::Alertmanager {
            return Ok(uri);
        }
        let text = format!("{}{ALERTS_PATH}", text.trim_end_matches('/'));
        text.parse().map_err(|_| self.error(&entry.name, "its URL cannot be followed by a path"))
    }

    fn authorities(&self, file: &Spanned<PathBuf>) -> Result<Vec<Vec<u8>>> {
        authorities(self.snapshot.bytes(file)?)
            .map_err(|error| self.error(file, format!("{}: {error}", file.value.display())))
    }

    /// The keys, one a line, the newest first: while a key is replaced, both sign.
    fn keys(&self, file: &Spanned<PathBuf>) -> Result<Vec<hmac::Key>> {
        let text = str::from_utf8(self.snapshot.bytes(file)?).unwrap_or_default();
        let keys: Option<Vec<_>> = text.split_whitespace().map(key).collect();
        keys.filter(|keys| !keys.is_empty()).ok_or_else(|| {
            self.error(
                file,
                format!(
                    "{} is not a key: write {SECRET_PREFIX} and {} to {} bytes in base64",
                    file.value.display(),
                    SECRET_BYTES.start(),
                    SECRET_BYTES.end()
                ),
            )
        })
    }

    fn route(&self, entry: &RouteEntry, window: Duration) -> Result<Route> {
        for namespace in &entry.namespaces {
            let name = namespace.value.trim_end_matches('*').trim_end_matches('-');
            let is_valid = namespace.value == "*" || check_namespace(name).is_ok();
            if !is_valid || namespace.value.trim_end_matches('*').contains('*') {
                let reason = format!("{:?} is no namespace, nor the beginning of one and *", namespace.value);
                return Err(self.error(namespace, reason));
            }
        }
        let severity = match &entry.severity {
            None => Severity::default(),
            Some(name) => Severity::ALL
                .into_iter()
                .find(|severity| severity.as_str() == name.value)
                .ok_or_else(|| self.unknown(name, &Severity::ALL.map(Severity::as_str)))?,
        };
        let filter = RouteFilter {
            namespaces: entry.namespaces.iter().map(|namespace| namespace.value.clone()).collect(),
            kinds: self.each(&entry.kinds, Kind::from_resource, &Kind::ALL.map(Kind::resource))?,
            whats: self.each(&entry.events, words::from_name, &words::ALL.map(words::name))?,
            severity,
        };
        let window = entry.window.as_ref().map_or(Ok(window), |window| self.window(window))?;
        Ok(Route { name: entry.name.value.clone(), receiver: entry.receiver.value.clone(), filter, window })
    }

    fn each<T: Ord>(
        &self,
        names: &[Spanned<String>],
        parse: impl Fn(&str) -> Option<T>,
        known: &[&str],
    ) -> Result<BTreeSet<T>> {
        names.iter().map(|name| parse(&name.value).ok_or_else(|| self.unknown(name, known))).collect()
    }

    fn unknown(&self, name: &Spanned<String>, known: &[&str]) -> ConfigError {
        self.error(name, format!("{:?} is not known; known are: {}", name.value, known.join(", ")))
    }

    fn window(&self, text: &Spanned<String>) -> Result<Duration> {
        let seconds = match (text.value.strip_suffix('s'), text.value.strip_suffix('m')) {
            (Some(digits), _) => digits.parse().ok(),
            (None, Some(digits)) => digits.parse::<u64>().ok().and_then(|minutes| minutes.checked_mul(60)),
            (None, None) => None,
        };
        let seconds = seconds.filter(|seconds| WINDOWS.contains(seconds));
        seconds.map(Duration::from_secs).ok_or_else(|| {
            self.error(text, format!("{:?} is no window: write 1s to 3600s, or 1m to 60m", text.value))
        })
    }
}

/// A URL that can be sent to. The error does not show it.
fn web_url(text: &str, service: Service) -> std::result::Result<Uri, &'static str> {
    let uri: Uri = text.parse().map_err(|_| "this is not a URL")?;
    if uri.host().is_none_or(str::is_empty) || uri.authority().is_some_and(|it| it.as_str().contains('@')) {
        return Err("this is not a URL with a host, and without a user");
    }
    match (uri.scheme_str(), service) {
        (Some("https"), _) | (Some("http"), Service::Webhook | Service::Alertmanager) => Ok(uri),
        (_, Service::Webhook | Service::Alertmanager) => Err("the URL must begin with https:// or http://"),
        (_, Service::Slack | Service::Teams) => Err("the URL must begin with https://"),
    }
}

fn key(text: &str) -> Option<hmac::Key> {
    let bytes = STANDARD.decode(text.strip_prefix(SECRET_PREFIX)?).ok()?;
    SECRET_BYTES.contains(&bytes.len()).then(|| hmac::Key::new(hmac::HMAC_SHA256, &bytes))
}
