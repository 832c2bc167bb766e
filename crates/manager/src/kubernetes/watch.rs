//! The watch of a resource: shows a sink everything that there is and what changes, whatever happens to the connection.
//!
//! One session lists everything (as a stream where the API server can, else in pages) and follows what changes. A watch is
//! opened for a short window and then again from where it was. That costs the API server next to nothing, and limits how
//! long a dead connection can go unnoticed.
//!
//! Only `answer` and what is below it know whether the API server answers in protobuf or in JSON.

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
use super::malformed::MalformedObject;

/// How long one watch lasts before it is opened again.
const WINDOW_SECONDS: u32 = 10;
/// How long a listing as a stream may last; the longest that API servers are asked for.
const LISTING_SECONDS: u32 = 290;
/// How long an open watch or listing may say nothing: the window, and time for the end of it to arrive.
const SILENCE: Duration = Duration::from_secs(WINDOW_SECONDS as u64 + 5);
/// How long a watch must stay open before it counts as working: API servers and proxies can accept and then refuse.
const ESTABLISHED: Duration = Duration::from_secs(1);
/// How long to wait at least when the API server is overloaded and does not say how long.
const THROTTLED: Duration = Duration::from_secs(1);
/// How long a watch may take to open, and a page to arrive.
const ANSWER: Duration = Duration::from_secs(15);
/// Rows in a page of a listing: 1.5 MB of Deployments of 3 kB. Half as many when such a page is too long.
const PAGE: u32 = 500;
/// The annotation of the bookmark that ends a listing as a stream.
const LISTING_END: &str = "k8s.io/initial-events-end";
/// How long to wait between attempts.
const BACKOFF: Backoff = Backoff { base: Duration::from_millis(100), cap: Duration::from_secs(5) };
/// The same where the API server refuses, which only a person can mend: in the end at most once a minute.
const BACKOFF_WHEN_FORBIDDEN: Backoff = Backoff { cap: Duration::from_mins(2), ..BACKOFF };

/// Follows a resource, and shows what it sees to a sink.
pub struct Watch<S> {
    /// The API server.
    pub client: Client,
    /// The path of what is followed.
    pub path: String,
    /// What takes it in.
    pub sink: S,
    /// What is counted.
    pub metrics: WatchMetrics,
}

/// Where a session begins, and what was learnt in those before.
struct Position {
    /// The version up to which everything was seen. `None`: nothing was, so list.
    version: Option<String>,
    listing: Listing,
    failures: u32,
    /// Whether the API server refuses the watch.
    is_refused: bool,
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

impl<S: Sink> Watch<S> {
    /// Follows until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        let (listing, heard) = (Listing::Stream, Instant::now());
        let mut position = Position { version: None, listing, failures: 0, is_refused: false, heard };
        while !shutdown.is_cancelled() {
            let ended = tokio::select! {
                () = shutdown.cancelled() => return,
                ended = self.session(&mut position) => ended,
            };
            let delay = match ended {
                Ok(()) => continue,
                Err(error) => self.failed(&error, &mut position),
            };
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(delay) => {}
            }
        }
    }

    /// Records what went wrong; returns how long to wait before going on.
    fn failed(&self, error: &WatchError, position: &mut Position) -> Duration {
        self.metrics.ended_early(error.reason());
        let watched = self.sink.watched();
        match error {
            WatchError::NoStreamedListing(reason) => {
                debug!(watched, %reason, "listing in pages");
                position.listing = Listing::Pages { rows: PAGE };
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
            WatchError::Forbidden(reason) if !position.is_refused => {
                position.is_refused = true;
                self.sink.refused(reason);
            }
            other if position.failures == 0 => warn!(watched, reason = %other, "watch interrupted"),
            other => debug!(watched, reason = %other, "watch still interrupted"),
        }
        self.sink.stale(position.heard);
        position.failures = position.failures.saturating_add(1);
        delay(error, position.failures)
    }

    async fn session(&self, position: &mut Position) -> Result<(), WatchError> {
        let version = match (position.version.take(), position.listing) {
            (Some(version), _) => version,
            (None, Listing::Stream) => self.list_as_stream(position).await?,
            (None, Listing::Pages { rows }) => self.list_pages(rows, position).await?,
        };
        let version = position.version.insert(version);
        let parameters = WatchParams::default().timeout(WINDOW_SECONDS);
        let events = self.ask(self.request().watch(&parameters, version)).await??.events();
        self.sink.live();
        position.heard = Instant::now();
        self.follow(events, position).await
    }

    /// Takes in what changes, until the window ends.
    async fn follow(&self, mut events: Events, position: &mut Position) -> Result<(), WatchError> {
        let mut is_established = false;
        loop {
            let limit = if is_established { SILENCE } else { ESTABLISHED };
            let event = match self.next(&mut events, position, limit).await {
                Ok(event) => event,
                Err(WatchError::Silent(_)) if !is_established => {
                    is_established = true;
                    self.established(position);
                    continue;
                }
                Err(error) => return Err(error),
            };
            // A window that ends at once is a failure like others, or it would be opened again and again.
            let Some(event) = event else {
                return if is_established { Ok(()) } else { Err(WatchError::EndedEarly) };
            };
            if let Some(version) = self.take_in(event)?.version {
                position.version = Some(version);
            }
            if !is_established {
                is_established = true;
                self.established(position);
            }
        }
    }

    /// The watch works: what went wrong before is over.
    fn established(&self, position: &mut Position) {
        if position.failures > 0 {
            position.failures = 0;
            position.is_refused = false;
            info!(watched = self.sink.watched(), "watch restored");
            self.sink.recovered();
        }
    }

    async fn list_as_stream(&self, position: &mut Position) -> Result<String, WatchError> {
        let parameters = WatchParams::default().timeout(LISTING_SECONDS).initial_events();
        let answer = self.ask(self.request().watch(&parameters, "")).await?;
        let answer = answer.map_err(|error| match error {
            kube::Error::Api(status) if matches!(status.code, 400 | 422) => {
                WatchError::NoStreamedListing(status.message)
            }
            other => other.into(),
        })?;
        let mut events = answer.events();
        self.sink.restart();
        while let Some(event) = self.next(&mut events, position, SILENCE).await? {
            if let TakenIn { version: Some(version), ends_listing: true } = self.take_in(event)? {
                self.listed();
                return Ok(version);
            }
        }
        Err(WatchError::EndedEarly)
    }

    async fn list_pages(&self, rows: u32, position: &mut Position) -> Result<String, WatchError> {
        self.sink.restart();
        let mut parameters = ListParams::default().limit(rows);
        loop {
            let page = timeout(ANSWER, self.page(&parameters)).await.map_err(no_answer)??;
            position.heard = Instant::now();
            for object in page.objects {
                self.show(object, S::apply);
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

    async fn page(&self, parameters: &ListParams) -> Result<Page<S::Object>, WatchError> {
        self.ask(self.request().list(parameters)).await??.page().await
    }

    fn request(&self) -> Request {
        Request::new(&self.path)
    }

    async fn ask(
        &self,
        request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Result<kube::Result<Answer>, WatchError> {
        let request = request.map_err(kube::Error::BuildRequest)?;
        timeout(ANSWER, Answer::to(&self.client, request)).await.map_err(no_answer)
    }

    fn listed(&self) {
        let known = self.sink.complete();
        info!(watched = self.sink.watched(), known, "listed");
    }

    /// The next event; `None` when the API server ends the watch in good order.
    async fn next(
        &self,
        events: &mut Events,
        position: &mut Position,
        limit: Duration,
    ) -> Result<Option<WatchEvent<S::Object>>, WatchError> {
        let event = timeout(limit, events.next()).await.map_err(|_elapsed| WatchError::Silent(limit))?;
        position.heard = Instant::now();
        event
    }

    fn take_in(&self, event: WatchEvent<S::Object>) -> Result<TakenIn, WatchError> {
        match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => Ok(self.show(object, S::apply)),
            WatchEvent::Deleted(object) => Ok(self.show(object, S::delete)),
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

    /// Shows an object to the sink.
    fn show(
        &self,
        object: S::Object,
        show: impl FnOnce(&S, S::Object) -> Result<(), MalformedObject>,
    ) -> TakenIn {
        self.metrics.event();
        let version = object.resource_version().map(str::to_owned);
        if let Err(error) = show(&self.sink, object) {
            warn!(%error, "skipped");
        }
        TakenIn { version, ends_listing: false }
    }
}

/// How long to wait after a failure, the last of so many in a row.
fn delay(error: &WatchError, failures: u32) -> Duration {
    let delay = |backoff: Backoff| backoff.delay(failures, fastrand::f64());
    match error {
        WatchError::Forbidden(_) => delay(BACKOFF_WHEN_FORBIDDEN),
        WatchError::Throttled { retry_after, .. } => delay(BACKOFF).max(retry_after.unwrap_or(THROTTLED)),
        WatchError::NoStreamedListing(_)
        | WatchError::PageTooLong(_)
        | WatchError::Gone(_)
        | WatchError::Silent(_)
        | WatchError::NoAnswer(_)
        | WatchError::EndedEarly
        | WatchError::Kube(_)
        | WatchError::Unreadable(_)
        | WatchError::Status(_) => delay(BACKOFF),
    }
}

/// What an event says beyond the object in it.
struct TakenIn {
    /// The version up to which everything was seen with it.
    version: Option<String>,
    /// Whether a listing is complete with it.
    ends_listing: bool,
}

fn no_answer(_elapsed: tokio::time::error::Elapsed) -> WatchError {
    WatchError::NoAnswer(ANSWER)
}
