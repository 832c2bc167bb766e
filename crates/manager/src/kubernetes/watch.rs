//! Watches a resource: delivers all objects and all changes to a sink, whatever happens to the connection.
//!
//! A session lists everything (as a stream if the API server supports that, else in pages) and then watches changes. A
//! watch is opened for a short window and reopened from its last version. That costs the API server almost nothing, and
//! limits how long a dead connection can go unnoticed.
//!
//! Only `answer` and the modules that it uses know whether the API server answers in protobuf or in JSON.

mod answer;
mod decode;
mod error;
mod events;
mod metrics;
mod object;
mod sink;
#[cfg(test)]
mod tests;

use std::time::Duration;

use kube::Client;
use kube::api::{ListParams, WatchParams};
use kube::core::{Request, WatchEvent};
use replica_count_core::backoff::Backoff;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use self::answer::Answer;
use self::decode::Page;
use self::error::WatchError;
use self::events::Events;
pub use self::metrics::WatchMetrics;
pub use self::object::Object;
pub use self::sink::Sink;
use super::cause::chain;
use super::malformed::MalformedObject;

/// How long one watch lasts before it is reopened.
const WINDOW_SECONDS: u32 = 10;
/// How long a streamed listing may last: the longest timeout that is requested from API servers.
const LISTING_SECONDS: u32 = 290;
/// How long an open watch or listing may be silent: the window, and time for its end to arrive.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(WINDOW_SECONDS as u64 + 5);
/// How long a watch must stay open before it counts as working: API servers and proxies may accept it and then refuse.
const ESTABLISHED_AFTER: Duration = Duration::from_secs(1);
/// The minimum wait when the API server is overloaded and sends no Retry-After.
const THROTTLED_DELAY: Duration = Duration::from_secs(1);
/// How long opening a watch and receiving a page may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// Rows in a page of a listing: 1.5 MB for Deployments of 3 kB. Halved if such a page is too long.
const PAGE_ROWS: u32 = 500;
/// The annotation of the bookmark that ends a streamed listing.
const LISTING_END: &str = "k8s.io/initial-events-end";
/// The delays between attempts.
const BACKOFF: Backoff = Backoff { base: Duration::from_millis(100), cap: Duration::from_secs(5) };
/// The same while the API server refuses, which only a person can fix: eventually at most once a minute.
const BACKOFF_WHEN_REFUSED: Backoff = Backoff { cap: Duration::from_mins(2), ..BACKOFF };
/// How long the API server must refuse before that counts: one that has just started, or whose roles are being changed,
/// refuses for a moment.
const REFUSED_AFTER: Duration = Duration::from_secs(3);

/// Watches a resource for a sink.
pub struct Watch<S> {
    /// The API server.
    pub client: Client,
    /// The path of the watched resource.
    pub path: String,
    /// The receiver of objects and changes.
    pub sink: S,
    /// The metrics of the watch.
    pub metrics: WatchMetrics,
}

/// Where the next session begins, and what earlier sessions have learnt.
struct Position {
    /// The version up to which everything was received. `None`: list first.
    version: Option<String>,
    listing: Listing,
    failures: u32,
    /// The refusals since the last session that failed in another way or worked.
    refusals: Option<Refusals>,
    /// When data last arrived from the API server.
    last_heard: Instant,
}

/// Refusals in a row.
#[derive(Clone, Copy)]
struct Refusals {
    count: u32,
    since: Instant,
    /// Whether the sink was notified.
    is_reported: bool,
}

/// How to list.
#[derive(Clone, Copy)]
enum Listing {
    /// As a stream, of which the API server keeps no copy. Available since Kubernetes 1.27, but not always enabled.
    Stream,
    /// In pages with this many rows.
    Pages { rows: u32 },
}

impl<S: Sink> Watch<S> {
    /// Watches until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        let (listing, last_heard) = (Listing::Stream, Instant::now());
        let mut position = Position { version: None, listing, failures: 0, refusals: None, last_heard };
        while !shutdown.is_cancelled() {
            let ended = tokio::select! {
                () = shutdown.cancelled() => return,
                ended = self.session(&mut position) => ended,
            };
            let delay = match ended {
                Ok(()) => continue,
                Err(error) => self.handle_error(&error, &mut position),
            };
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(delay) => {}
            }
        }
    }

    /// Records an error; returns how long to wait before the next session.
    fn handle_error(&self, error: &WatchError, position: &mut Position) -> Duration {
        self.metrics.error(error.reason());
        let watched = self.sink.watched();
        match error {
            WatchError::NoStreamedListing(reason) => {
                debug!(watched, %reason, "listing in pages");
                position.listing = Listing::Pages { rows: PAGE_ROWS };
                return Duration::ZERO;
            }
            WatchError::PageTooLong(_) if let Listing::Pages { rows: rows @ 2.. } = position.listing => {
                let rows = rows / 2;
                info!(watched, rows, reason = %error, "listing in smaller pages");
                position.listing = Listing::Pages { rows };
                return Duration::ZERO;
            }
            WatchError::Gone(reason) => {
                info!(watched, %reason, "listing again");
                position.version = None;
            }
            WatchError::Forbidden(reason) => return self.refused(reason, position),
            other if position.failures == 0 => warn!(watched, reason = chain(other), "watch interrupted"),
            other => debug!(watched, reason = chain(other), "watch still interrupted"),
        }
        self.sink.stale(position.last_heard);
        position.refusals = None;
        position.failures = position.failures.saturating_add(1);
        delay(error, position.failures, fastrand::f64())
    }

    /// Records a refusal; returns how long to wait before the next session.
    fn refused(&self, reason: &str, position: &mut Position) -> Duration {
        let first = Refusals { count: 0, since: Instant::now(), is_reported: false };
        let refusals = position.refusals.get_or_insert(first);
        refusals.count = refusals.count.saturating_add(1);
        position.failures = position.failures.saturating_add(1);
        self.sink.stale(position.last_heard);
        if refusals.since.elapsed() < REFUSED_AFTER {
            debug!(watched = self.sink.watched(), reason, "watch refused");
            return BACKOFF.delay(refusals.count, fastrand::f64());
        }
        let is_first = !std::mem::replace(&mut refusals.is_reported, true);
        // What is known may change unseen for a long time, so it is listed again. A listing may succeed where the watch
        // is refused, so this is repeated.
        position.version = None;
        self.sink.refused(reason, is_first);
        BACKOFF_WHEN_REFUSED.delay(refusals.count, fastrand::f64())
    }

    async fn session(&self, position: &mut Position) -> Result<(), WatchError> {
        let version = match (position.version.take(), position.listing) {
            (Some(version), _) => version,
            (None, Listing::Stream) => self.list_as_stream(position).await?,
            (None, Listing::Pages { rows }) => self.list_pages(rows, position).await?,
        };
        let version = position.version.insert(version);
        let parameters = WatchParams::default().timeout(WINDOW_SECONDS);
        let events = self.send(self.request().watch(&parameters, version)).await??.events();
        self.sink.live();
        position.last_heard = Instant::now();
        self.process(events, position).await
    }

    /// Processes events until the window ends.
    async fn process(&self, mut events: Events, position: &mut Position) -> Result<(), WatchError> {
        let mut is_established = false;
        loop {
            let limit = if is_established { SILENCE_TIMEOUT } else { ESTABLISHED_AFTER };
            let event = match self.next(&mut events, position, limit).await {
                Ok(event) => event,
                Err(WatchError::Silent(_)) if !is_established => {
                    is_established = true;
                    self.established(position);
                    continue;
                }
                Err(error) => return Err(error),
            };
            // A window that ends immediately is an error, or it would be reopened in an endless loop.
            let Some(event) = event else {
                return if is_established { Ok(()) } else { Err(WatchError::EndedEarly) };
            };
            if let Some(version) = self.apply(event)?.version {
                position.version = Some(version);
            }
            if !is_established {
                is_established = true;
                self.established(position);
            }
        }
    }

    /// The watch works: earlier errors are over.
    fn established(&self, position: &mut Position) {
        if position.failures > 0 {
            position.failures = 0;
            position.refusals = None;
            info!(watched = self.sink.watched(), "watch restored");
            self.sink.recovered();
        }
    }

    async fn list_as_stream(&self, position: &mut Position) -> Result<String, WatchError> {
        let parameters = WatchParams::default().timeout(LISTING_SECONDS).initial_events();
        let answer = self.send(self.request().watch(&parameters, "")).await?;
        let answer = answer.map_err(|error| match error {
            kube::Error::Api(status) if matches!(status.code, 400 | 422) => {
                WatchError::NoStreamedListing(status.message)
            }
            other => other.into(),
        })?;
        let mut events = answer.events();
        self.sink.begin_listing();
        while let Some(event) = self.next(&mut events, position, SILENCE_TIMEOUT).await? {
            if let Applied { version: Some(version), ends_listing: true } = self.apply(event)? {
                self.end_listing(&version);
                return Ok(version);
            }
        }
        Err(WatchError::EndedEarly)
    }

    async fn list_pages(&self, rows: u32, position: &mut Position) -> Result<String, WatchError> {
        self.sink.begin_listing();
        let mut parameters = ListParams::default().limit(rows);
        loop {
            let page = timeout(ANSWER_TIMEOUT, self.page(&parameters)).await.map_err(no_answer)??;
            position.last_heard = Instant::now();
            for object in page.objects {
                self.deliver(object, S::apply);
            }
            match page.next {
                Some(token) => parameters = parameters.continue_token(&token),
                None => {
                    self.end_listing(&page.version);
                    return Ok(page.version);
                }
            }
        }
    }

    async fn page(&self, parameters: &ListParams) -> Result<Page<S::Object>, WatchError> {
        self.send(self.request().list(parameters)).await??.page().await
    }

    fn request(&self) -> Request {
        Request::new(&self.path)
    }

    async fn send(
        &self,
        request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Result<kube::Result<Answer>, WatchError> {
        let request = request.map_err(kube::Error::BuildRequest)?;
        timeout(ANSWER_TIMEOUT, Answer::to(&self.client, request)).await.map_err(no_answer)
    }

    fn end_listing(&self, version: &str) {
        let known = self.sink.end_listing(version);
        info!(watched = self.sink.watched(), known, "listed");
    }

    /// The next event. `None`: the API server has ended the watch regularly.
    async fn next(
        &self,
        events: &mut Events,
        position: &mut Position,
        limit: Duration,
    ) -> Result<Option<WatchEvent<S::Object>>, WatchError> {
        let event = timeout(limit, events.next()).await.map_err(|_elapsed| WatchError::Silent(limit))?;
        position.last_heard = Instant::now();
        event
    }

    fn apply(&self, event: WatchEvent<S::Object>) -> Result<Applied, WatchError> {
        match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => Ok(self.deliver(object, S::apply)),
            WatchEvent::Deleted(object) => Ok(self.deliver(object, S::delete)),
            WatchEvent::Bookmark(bookmark) => Ok(Applied {
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

    /// Delivers an object to the sink.
    fn deliver(
        &self,
        object: S::Object,
        deliver: impl FnOnce(&S, S::Object) -> Result<(), MalformedObject>,
    ) -> Applied {
        self.metrics.event();
        let version = object.resource_version().map(str::to_owned);
        if let Err(error) = deliver(&self.sink, object) {
            warn!(%error, "skipped");
        }
        Applied { version, ends_listing: false }
    }
}

/// How long to wait after an error, the last of `failures` in a row. `jitter` is a random number in 0..1.
///
/// After a Retry-After, up to half of that time is added: all that were throttled together were asked for the same.
fn delay(error: &WatchError, failures: u32, jitter: f64) -> Duration {
    let backoff = BACKOFF.delay(failures, jitter);
    match error {
        WatchError::Throttled { retry_after, .. } => {
            let asked = retry_after.unwrap_or(THROTTLED_DELAY);
            backoff.max(asked.mul_f64(1.0 + jitter / 2.0))
        }
        WatchError::NoStreamedListing(_)
        | WatchError::PageTooLong(_)
        | WatchError::Unauthorized(_)
        | WatchError::Forbidden(_)
        | WatchError::Gone(_)
        | WatchError::Silent(_)
        | WatchError::NoAnswer(_)
        | WatchError::EndedEarly
        | WatchError::Kube(_)
        | WatchError::Unreadable(_)
        | WatchError::Status(_) => backoff,
    }
}

/// What an event means for the position.
struct Applied {
    /// The version up to which everything was received.
    version: Option<String>,
    /// Whether it completes a listing.
    ends_listing: bool,
}

fn no_answer(_elapsed: tokio::time::error::Elapsed) -> WatchError {
    WatchError::NoAnswer(ANSWER_TIMEOUT)
}
