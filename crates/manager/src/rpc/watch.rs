//! WatchDeployments: a snapshot in pages, and then what happens.
//!
//! A stream has no queue of its own: events are in one ring for all streams, and each stream has a position in it. So a
//! client that does not read takes no memory. When it reads again and the ring has moved on, the stream ends.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::Stream;
use futures_util::stream::unfold;
use prometheus_client::metrics::gauge::Gauge;
use replica_count_api::proto;
use replica_count_api::request::WatchRequest;
use replica_count_core::authorization::Access;
use replica_count_core::history::entry::Entry;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tonic::Status;

use super::authorize::Caller;
use super::context::Context;
use super::in_flight::InFlight;
use super::list::list;
use super::status::Refusal;

/// A stream of messages.
pub(super) type Messages =
    Pin<Box<dyn Stream<Item = Result<proto::WatchDeploymentsResponse, Status>> + Send>>;

/// A stream that a client reads.
struct Watch {
    context: Arc<Context>,
    caller: Caller,
    request: WatchRequest,
    in_flight: Option<InFlight>,
    happened: Receiver<Arc<Entry>>,
    step: Step,
    _counted: Counted,
}

/// What is sent next.
enum Step {
    /// The next page of the snapshot.
    Snapshot,
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
    request: WatchRequest,
    in_flight: Option<InFlight>,
) -> Messages {
    let watch = Watch {
        // Before the snapshot, so that nothing is missed between the two.
        happened: context.history.watch(),
        _counted: Counted::new(&context.history.metrics().watchers),
        context: Arc::clone(context),
        caller,
        request,
        in_flight,
        step: Step::Snapshot,
    };
    Box::pin(unfold(watch, async |mut watch| {
        let message = match watch.step {
            Step::Snapshot => watch.page().await,
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
        Ok(proto::WatchDeploymentsResponse { rows, snapshot_complete, event: None })
    }

    /// The next event that the client wants.
    async fn event(&mut self) -> Result<proto::WatchDeploymentsResponse, Refusal> {
        loop {
            let received = tokio::select! {
                biased;
                () = self.context.ending.cancelled() => return Err(Refusal::Ending),
                received = self.happened.recv() => received,
            };
            match received {
                Ok(entry) if self.wants(&entry) => {
                    let event = Some((&*entry).into());
                    return Ok(proto::WatchDeploymentsResponse { event, ..Default::default() });
                }
                Ok(_) => {}
                Err(RecvError::Lagged(missed)) => {
                    self.context.history.metrics().too_slow.inc();
                    return Err(Refusal::Missed(missed));
                }
                Err(RecvError::Closed) => return Err(Refusal::Ending),
            }
        }
    }

    fn wants(&self, entry: &Entry) -> bool {
        let WatchRequest { list, whats } = &self.request;
        list.matches(&entry.target) && (whats.is_empty() || whats.contains(&entry.what))
    }
}

#[cfg(test)]
mod tests;
