//! WatchDeployments: a snapshot in pages, and then what happens.
//!
//! A stream has no queue of its own: events are in one ring for all streams, and each stream has a position in it. So a
//! client that does not read takes no memory. When it reads again and the ring has moved on, the stream ends.
//!
//! A stream that goes on where an earlier one has ended first gets what the history has since then.

use std::pin::Pin;
use std::sync::Arc;
use std::vec::IntoIter;

use futures_util::Stream;
use futures_util::stream::unfold;
use prometheus_client::metrics::gauge::Gauge;
use replica_count_api::proto;
use replica_count_api::request::WatchRequest;
use replica_count_core::authorization::Access;
use replica_count_core::history::entry::{Entry, What};
use replica_count_core::history::position::Position;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tonic::Status;

use super::authorize::Caller;
use super::context::Context;
use super::in_flight::InFlight;
use super::list::list;
use super::status::Refusal;
use crate::history::shared::Happened;

/// With how many events a stream catches up. If more have happened, it begins with a snapshot.
const MAX_PAST: usize = 4096;

/// A stream of messages.
pub(super) type Messages =
    Pin<Box<dyn Stream<Item = Result<proto::WatchDeploymentsResponse, Status>> + Send>>;

/// A stream that a client reads.
struct Watch {
    context: Arc<Context>,
    caller: Caller,
    request: WatchRequest,
    in_flight: Option<InFlight>,
    happened: Receiver<Happened>,
    /// Where the client is once it has read what was sent, or did not want it.
    position: Position,
    /// Where it is once it has read what it catches up with.
    next_position: Position,
    step: Step,
    _counted: Counted,
}

/// What is sent next.
enum Step {
    /// The next page of the snapshot.
    Snapshot,
    /// That there is no snapshot, because the client goes on with these events.
    Resumed(IntoIter<Arc<Entry>>),
    /// What has happened since the earlier stream.
    Past(IntoIter<Arc<Entry>>),
    /// What happens.
    Events,
    /// Nothing.
    End,
}

/// A stream in the metrics.
struct Counted(Gauge);

impl Counted {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// What the caller must be allowed to do.
pub(super) fn access(request: &WatchRequest) -> Access<'_> {
    let namespace = request.list.namespace.as_deref();
    Access::Watch { namespace, name: namespace.and(request.list.name.as_deref()) }
}

/// Begins a stream.
pub(super) fn watch(
    context: &Arc<Context>,
    caller: Caller,
    mut request: WatchRequest,
    in_flight: Option<InFlight>,
) -> Messages {
    // Before the snapshot, so that nothing is missed between the two.
    let (happened, past, position) = context.history.watch_since(request.since.as_ref());
    let past = past.map(|past| past.into_iter().filter(|entry| request.wants(entry)).collect());
    let past: Option<Vec<_>> = past.filter(|past: &Vec<_>| past.len() <= MAX_PAST);
    request.since = request.since.filter(|_| past.is_some());
    let watch = Watch {
        happened,
        position: request.since.unwrap_or(position),
        next_position: position,
        step: past.map_or(Step::Snapshot, |past| Step::Resumed(past.into_iter())),
        _counted: Counted::new(&context.history.metrics().watchers),
        context: Arc::clone(context),
        caller,
        request,
        in_flight,
    };
    Box::pin(unfold(watch, async |mut watch| {
        let message = match &mut watch.step {
            Step::Snapshot => watch.page().await,
            Step::Resumed(past) => {
                let past = std::mem::take(past);
                Ok(watch.resumed(past))
            }
            Step::Past(past) => {
                let past = std::mem::take(past);
                Ok(watch.past(past))
            }
            Step::Events => watch.event().await,
            Step::End => return None,
        };
        if message.is_err() {
            watch.step = Step::End;
        }
        Some((message.map_err(Status::from), watch))
    }))
}

impl Watch {
    /// The next page of the snapshot.
    async fn page(&mut self) -> Result<proto::WatchDeploymentsResponse, Refusal> {
        let turn = self.context.lists.turn(self.caller.user()).await;
        let page = list(&self.context, &self.request.list, self.in_flight.as_ref())?;
        drop(turn);
        // The next one follows the last row of this one.
        self.request.list.after = page.next_page_token.parse().ok();
        let snapshot_complete = self.request.list.after.is_none();
        if snapshot_complete {
            self.step = Step::Events;
        }
        let rows = page.deployments_replica_config;
        let resume_token = if snapshot_complete { self.position.to_string() } else { String::new() };
        Ok(proto::WatchDeploymentsResponse { rows, snapshot_complete, resume_token, ..Default::default() })
    }

    /// The message before what has happened since the earlier stream.
    fn resumed(&mut self, past: IntoIter<Arc<Entry>>) -> proto::WatchDeploymentsResponse {
        let resume_token = self.catch_up(past);
        proto::WatchDeploymentsResponse {
            snapshot_complete: true,
            resumed: true,
            resume_token,
            ..Default::default()
        }
    }

    /// The next event that has happened since the earlier stream.
    fn past(&mut self, mut past: IntoIter<Arc<Entry>>) -> proto::WatchDeploymentsResponse {
        let event = past.next().map(|entry| (&*entry).into());
        let resume_token = self.catch_up(past);
        proto::WatchDeploymentsResponse { event, resume_token, ..Default::default() }
    }

    /// Sends these next; returns the token of the message before them. Only after the last of them is the client further
    /// than before.
    fn catch_up(&mut self, past: IntoIter<Arc<Entry>>) -> String {
        if past.len() > 0 {
            self.step = Step::Past(past);
            return String::new();
        }
        (self.position, self.step) = (self.next_position, Step::Events);
        self.position.to_string()
    }

    /// Whether the client has got an event from another server, from which this one learns it only now.
    fn has(&self, entry: &Entry, own_from: u64) -> bool {
        let is_deletion = entry.what == What::Deleted;
        self.request.since.is_some_and(|since| since.covers(entry.id, is_deletion, own_from))
    }

    /// The next event that the client wants.
    async fn event(&mut self) -> Result<proto::WatchDeploymentsResponse, Refusal> {
        loop {
            let received = tokio::select! {
                biased;
                () = self.context.ending.cancelled() => return Err(Refusal::Ending(self.position)),
                received = self.happened.recv() => received,
            };
            match received {
                Ok(Happened::Event { entry, position, .. }) => {
                    self.position = position;
                    if self.request.wants(&entry) && !self.has(&entry, position.first_id) {
                        let (event, resume_token) = (Some((&*entry).into()), position.to_string());
                        return Ok(proto::WatchDeploymentsResponse {
                            event,
                            resume_token,
                            ..Default::default()
                        });
                    }
                }
                Ok(Happened::Gap(target)) if self.request.list.matches(&target) => return Err(Refusal::Gap),
                Ok(Happened::Gap(_)) => {}
                Err(RecvError::Lagged(missed)) => {
                    self.context.history.metrics().too_slow.inc();
                    return Err(Refusal::Missed(missed));
                }
                Err(RecvError::Closed) => return Err(Refusal::Ending(self.position)),
            }
        }
    }
}

#[cfg(test)]
mod tests;
