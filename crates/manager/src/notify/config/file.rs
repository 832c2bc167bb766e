//! The file as it is written.

use std::path::PathBuf;

use serde::Deserialize;
use serde_saphyr::Spanned;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct File {
    pub(super) window: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) links: Vec<LinkEntry>,
    #[serde(default)]
    pub(super) receivers: Vec<ReceiverEntry>,
    #[serde(default)]
    pub(super) routes: Vec<RouteEntry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LinkEntry {
    pub(super) text: String,
    pub(super) url: Spanned<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct ReceiverEntry {
    pub(super) name: Spanned<String>,
    pub(super) slack: Option<Destination>,
    pub(super) teams: Option<Destination>,
    pub(super) webhook: Option<Destination>,
    pub(super) alertmanager: Option<Destination>,
}

/// Where a receiver is, and what it demands.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Destination {
    pub(super) url: Option<Spanned<String>>,
    pub(super) url_file: Option<Spanned<PathBuf>>,
    pub(super) ca_file: Option<Spanned<PathBuf>>,
    pub(super) bearer_token_file: Option<Spanned<PathBuf>>,
    pub(super) signing_key_file: Option<Spanned<PathBuf>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RouteEntry {
    pub(super) name: Spanned<String>,
    pub(super) receiver: Spanned<String>,
    #[serde(default)]
    pub(super) namespaces: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) kinds: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) events: Vec<Spanned<String>>,
    pub(super) severity: Option<Spanned<String>>,
    pub(super) window: Option<Spanned<String>>,
}

impl ReceiverEntry {
    /// The destinations that are given. Exactly one is valid.
    pub(super) fn destinations(&self) -> [Option<&Destination>; 4] {
        [&self.slack, &self.teams, &self.webhook, &self.alertmanager].map(Option::as_ref)
    }
}

impl Destination {
    /// The files that it names.
    pub(super) fn files(&self) -> impl Iterator<Item = &Spanned<PathBuf>> {
        [&self.url_file, &self.ca_file, &self.bearer_token_file, &self.signing_key_file].into_iter().flatten()
    }
}
