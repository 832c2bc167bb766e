//! The watch: keeps the cluster's view current, whatever happens to the connection.
//!
//! One session lists everything (as a stream where the API server can, else in pages) and follows what changes. A watch is
//! opened for a short window and then again from where it was, which costs the API server next to nothing and bounds
//! how long a connection that died without a word can go unnoticed.
//!
//! Whether an API server answers in protobuf or in JSON is known to `answer` and what is below it, and to nobody else.

mod answer;
mod decode;
mod events;
mod interruption;
pub mod metrics;
#[cfg(test)]
mod tests;

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use kube::api::{ListParams, WatchParams};
use kube::core::{Request, WatchEvent};
use kube::{Api, Resource};
use replica_count_core::backoff::Backoff;
use replica_count_core::target::Target;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use self::answer::Answer;
use self::decode::Page;
use self::events::Events;
use self::interruption::Interruption;
use self::metrics::WatchMetrics;
use crate::cluster::{Cluster, Watched};

/// How long one watch lasts before it is opened again.
const WINDOW_SECONDS: u32 = 10;
/// How long a listing as a stream may last; the longest that API servers are asked for.
const LISTING_SECONDS: u32 = 290;
/// How long an open watch or listing may say nothing: the window, and time for the end of it to arrive.
const SILENCE: Duration = Duration::from_secs(WINDOW_SECONDS as u64 + 5);
/// How long a watch must stay open before it counts as working: API servers and proxies can accept and then refuse.
const SETTLED: Duration = Duration::from_secs(1);
/// How long to wait at least when the API server has too much to do and does not say how long.
const THROTTLED: Duration = Duration::from_secs(1);
/// How long a watch may take to open, and a page to arrive.
const ANSWER: Duration = Duration::from_secs(15);
/// Rows in a page of a listing: 1.5 MB of Deployments of 3 kB. Half as many when such a page is too long.
const PAGE: u32 = 500;
/// The annotation of the bookmark that ends a listing as a stream.
const LISTING_END: &str = "k8s.io/initial-events-end";
/// How long to wait between attempts.
const BACKOFF: Backoff = Backoff { base: Duration::from_millis(100), cap: Duration::from_secs(5) };
/// The same where the API server does not let it, which only a person can mend.
const BACKOFF_WHEN_FORBIDDEN: Backoff = Backoff { cap: Duration::from_secs(30), ..BACKOFF };

/// What a watch can follow: objects that the cluster takes in. Each method returns the targets that it concerns.
pub trait Followed:
    Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + From<Self::Message> + Send + 'static
{
    /// What they are.
    const WATCHED: Watched;
    /// The same in protobuf.
    type Message: prost::Message + Default;

    /// A full listing begins.
    fn begin_listing(cluster: &Cluster);
    /// A full listing is complete: what it did not show is gone.
    fn end_listing(cluster: &Cluster) -> Vec<Target>;
    /// It was listed, added or changed.
    fn insert(self, cluster: &Cluster) -> Result<Vec<Target>, MalformedObject>;
    /// It was deleted.
    fn remove(self, cluster: &Cluster) -> Result<Vec<Target>, MalformedObject>;
}

/// What an API server sent that no API server should send.
#[derive(Debug, thiserror::Error)]
#[error("{kind} {namespace:?}/{name:?} from the API server: {reason}")]
pub struct MalformedObject {
    pub(super) kind: &'static str,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) reason: String,
}

/// Follows all objects of a kind, or those of one namespace.
pub struct Watch<K> {
    /// What to follow.
    pub api: Api<K>,
    /// What is kept current.
    pub cluster: Arc<Cluster>,
    /// Called with every target that a change concerns, after the cluster has it.
    pub changed: Box<dyn Fn(Target) + Send + Sync>,
    /// Called when the watch works again after a failure.
    pub recovered: Box<dyn Fn() + Send + Sync>,
    /// What is counted.
    pub metrics: WatchMetrics,
}

/// Where a session begins, and what was learnt in those before.
struct Position {
    /// The version up to which everything was seen. `None`: nothing was, so list.
    version: Option<String>,
    listing: Listing,
    failures: u32,
    heard: Instant,
}

/// How to list.
#[derive(Clone, Copy)]
enum Listing {
    /// As a stream: the API server keeps no copy of it. Since Kubernetes 1.27, not everywhere on.
    Stream,
    /// In pages of so many rows.
    Pages { rows: u32 },
}

impl<K: Followed> Watch<K> {
    /// Follows until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        let heard = Instant::now();
        let mut position = Position { version: None, listing: Listing::Stream, failures: 0, heard };
        while !shutdown.is_cancelled() {
            let ended = tokio::select! {
                () = shutdown.cancelled() => return,
                ended = self.session(&mut position) => ended,
            };
            let delay = match ended {
                Ok(()) => continue,
                Err(interruption) => self.interrupted(&interruption, &mut position),
            };
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(delay) => {}
            }
        }
    }

    /// Takes note of what went wrong; returns how long to wait before going on.
    fn interrupted(&self, interruption: &Interruption, position: &mut Position) -> Duration {
        self.metrics.interrupted(interruption.reason());
        let watched = K::WATCHED.as_str();
        match interruption {
            Interruption::NoStreamedListing(reason) => {
                debug!(watched, %reason, "listing in pages");
                position.listing = Listing::Pages { rows: PAGE };
                return Duration::ZERO;
            }
            Interruption::PageTooLong(_) if let Listing::Pages { rows: rows @ 2.. } = position.listing => {
                let rows = rows / 2;
                info!(watched, rows, reason = %interruption, "listing in smaller pages");
                position.listing = Listing::Pages { rows };
                return Duration::ZERO;
            }
            Interruption::Gone(reason) => {
                info!(watched, %reason, "listing again");
                position.version = None;
                self.cluster.set_stale(K::WATCHED, position.heard);
            }
            Interruption::Forbidden(reason) => {
                if position.failures == 0 {
                    warn!(watched, %reason, "watch forbidden: grant the right; the server goes on without");
                } else {
                    debug!(watched, %reason, "watch still forbidden");
                }
                self.cluster.set_stale(K::WATCHED, position.heard);
                self.cluster.set_refused(K::WATCHED);
            }
            Interruption::Silent(_)
            | Interruption::PageTooLong(_)
            | Interruption::NoAnswer(_)
            | Interruption::EndedEarly
            | Interruption::Throttled { .. }
            | Interruption::Kube(_)
            | Interruption::Unreadable(_)
            | Interruption::Status(_) => {
                if position.failures == 0 {
                    warn!(watched, reason = %interruption, "watch interrupted");
                } else {
                    debug!(watched, reason = %interruption, "watch still interrupted");
                }
                self.cluster.set_stale(K::WATCHED, position.heard);
            }
        }
        position.failures = position.failures.saturating_add(1);
        let delay = |backoff: Backoff| backoff.delay(position.failures, fastrand::f64());
        match interruption {
            Interruption::Forbidden(_) => delay(BACKOFF_WHEN_FORBIDDEN),
            Interruption::Throttled { retry_after, .. } => {
                delay(BACKOFF).max(retry_after.unwrap_or(THROTTLED))
            }
            Interruption::NoStreamedListing(_)
            | Interruption::PageTooLong(_)
            | Interruption::Gone(_)
            | Interruption::Silent(_)
            | Interruption::NoAnswer(_)
            | Interruption::EndedEarly
            | Interruption::Kube(_)
            | Interruption::Unreadable(_)
            | Interruption::Status(_) => delay(BACKOFF),
        }
    }

    async fn session(&self, position: &mut Position) -> Result<(), Interruption> {
        let version = match (position.version.take(), position.listing) {
            (Some(version), _) => version,
            (None, Listing::Stream) => self.list_as_stream(position).await?,
            (None, Listing::Pages { rows }) => self.list_pages(rows, position).await?,
        };
        let version = position.version.insert(version);
        let parameters = WatchParams::default().timeout(WINDOW_SECONDS);
        let events = self.ask(self.request().watch(&parameters, version)).await??.events();
        self.cluster.set_live(K::WATCHED);
        position.heard = Instant::now();
        self.follow(events, position).await
    }

    /// Takes in what changes, until the window ends.
    async fn follow(&self, mut events: Events, position: &mut Position) -> Result<(), Interruption> {
        let mut is_settled = false;
        loop {
            let limit = if is_settled { SILENCE } else { SETTLED };
            let event = match self.next(&mut events, position, limit).await {
                Ok(event) => event,
                Err(Interruption::Silent(_)) if !is_settled => {
                    is_settled = true;
                    self.settled(position);
                    continue;
                }
                Err(interruption) => return Err(interruption),
            };
            // A window that ends at once is a failure like others, or it would be opened again and again.
            let Some(event) = event else {
                return if is_settled { Ok(()) } else { Err(Interruption::EndedEarly) };
            };
            if let Some(version) = self.take_in(event)?.version {
                position.version = Some(version);
            }
            if !is_settled {
                is_settled = true;
                self.settled(position);
            }
        }
    }

    /// The watch works: what went wrong before is over.
    fn settled(&self, position: &mut Position) {
        if position.failures > 0 {
            position.failures = 0;
            info!(watched = K::WATCHED.as_str(), "watch restored");
            (self.recovered)();
        }
    }

    async fn list_as_stream(&self, position: &mut Position) -> Result<String, Interruption> {
        let parameters = WatchParams::default().timeout(LISTING_SECONDS).initial_events();
        let answer = self.ask(self.request().watch(&parameters, "")).await?;
        let answer = answer.map_err(|error| match error {
            kube::Error::Api(status) if matches!(status.code, 400 | 422) => {
                Interruption::NoStreamedListing(status.message)
            }
            other => other.into(),
        })?;
        let mut events = answer.events();
        K::begin_listing(&self.cluster);
        while let Some(event) = self.next(&mut events, position, SILENCE).await? {
            if let TakenIn { version: Some(version), ends_listing: true } = self.take_in(event)? {
                self.listed();
                return Ok(version);
            }
        }
        Err(Interruption::EndedEarly)
    }

    async fn list_pages(&self, rows: u32, position: &mut Position) -> Result<String, Interruption> {
        K::begin_listing(&self.cluster);
        let mut parameters = ListParams::default().limit(rows);
        loop {
            let page = timeout(ANSWER, self.page(&parameters)).await.map_err(no_answer)??;
            position.heard = Instant::now();
            for object in page.objects {
                self.show(object, K::insert);
            }
            match page.next {
                Some(token) => parameters = parameters.continue_token(&token),
                None => {
                    self.listed();
                    return Ok(page.version);
                }
            }
        }
    }

    async fn page(&self, parameters: &ListParams) -> Result<Page<K>, Interruption> {
        self.ask(self.request().list(parameters)).await??.page().await
    }

    fn request(&self) -> Request {
        Request::new(self.api.resource_url())
    }

    async fn ask(
        &self,
        request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Result<kube::Result<Answer>, Interruption> {
        let client = self.api.clone().into_client();
        let request = request.map_err(kube::Error::BuildRequest)?;
        timeout(ANSWER, Answer::to(&client, request)).await.map_err(no_answer)
    }

    fn listed(&self) {
        K::end_listing(&self.cluster).into_iter().for_each(&self.changed);
        let known = self.cluster.view().known(K::WATCHED);
        info!(watched = K::WATCHED.as_str(), known, "listed");
    }

    /// The next event; `None` when the API server ends the watch in good order.
    async fn next(
        &self,
        events: &mut Events,
        position: &mut Position,
        limit: Duration,
    ) -> Result<Option<WatchEvent<K>>, Interruption> {
        let event = timeout(limit, events.next()).await.map_err(|_elapsed| Interruption::Silent(limit))?;
        position.heard = Instant::now();
        event
    }

    fn take_in(&self, event: WatchEvent<K>) -> Result<TakenIn, Interruption> {
        match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => Ok(self.show(object, K::insert)),
            WatchEvent::Deleted(object) => Ok(self.show(object, K::remove)),
            WatchEvent::Bookmark(bookmark) => Ok(TakenIn {
                version: Some(bookmark.metadata.resource_version).filter(|version| !version.is_empty()),
                ends_listing: bookmark
                    .metadata
                    .annotations
                    .get(LISTING_END)
                    .is_some_and(|value| value == "true"),
            }),
            WatchEvent::Error(status) => Err((*status).into()),
        }
    }

    /// Lets the cluster take in an object, by `change`.
    fn show(
        &self,
        object: K,
        change: impl FnOnce(K, &Cluster) -> Result<Vec<Target>, MalformedObject>,
    ) -> TakenIn {
        self.metrics.event();
        let version = object.meta().resource_version.clone();
        match change(object, &self.cluster) {
            Ok(targets) => targets.into_iter().for_each(&self.changed),
            Err(error) => warn!(%error, "skipped"),
        }
        TakenIn { version, ends_listing: false }
    }
}

/// What an event says beyond the object in it.
struct TakenIn {
    /// The version up to which everything was seen with it.
    version: Option<String>,
    /// Whether a listing is complete with it.
    ends_listing: bool,
}

fn no_answer(_elapsed: tokio::time::error::Elapsed) -> Interruption {
    Interruption::NoAnswer(ANSWER)
}
