//! Sends spans to a collector, several at once.

use std::future::pending;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::span::{Ended, SpanMetrics, Tracer};
use super::transport::{Collector, CollectorError, Transport};
use super::wire::{KeyValue, Request, Resource, ResourceSpans, Scope, ScopeSpans, Span};

/// How many spans are sent at once.
const MAX_BATCH: usize = 512;
/// How long a span waits for others.
const DELAY: Duration = Duration::from_secs(1);
/// How long to wait before spans are sent again, after each failure; then they are dropped.
const RETRIES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(5)];
/// How long the end of the server may wait for the last spans to be sent.
const FLUSH_LIMIT: Duration = Duration::from_secs(2);

/// Sends spans to a collector.
pub struct Exporter {
    ended: mpsc::Receiver<Ended>,
    /// Spans from the queue that wait for others.
    taken: Vec<Ended>,
    transport: Transport,
    metrics: SpanMetrics,
    /// What the collector knows of this server.
    attributes: Vec<(String, String)>,
    /// Whether the last request failed.
    is_failing: bool,
}

/// A tracer, and the exporter of its spans. `attributes` describe this server. Does not connect.
pub fn export(
    collector: &Collector,
    attributes: Vec<(String, String)>,
) -> Result<(Tracer, Exporter), CollectorError> {
    let transport = Transport::new(collector)?;
    let (tracer, ended, metrics) = Tracer::new();
    Ok((tracer, Exporter { ended, taken: Vec::new(), transport, metrics, attributes, is_failing: false }))
}

impl Exporter {
    /// Sends until `shutdown`, and then what is left.
    pub async fn run(mut self, shutdown: CancellationToken) {
        while let Some(batch) = shutdown.run_until_cancelled(self.batch()).await {
            let count = batch.len() as u64;
            // At the end, what is being sent may be lost.
            if shutdown.run_until_cancelled(self.send(batch)).await.is_none() {
                self.metrics.dropped.inc_by(count);
            }
        }
        let mut rest = std::mem::take(&mut self.taken);
        while let Ok(ended) = self.ended.try_recv() {
            rest.push(ended);
        }
        for batch in rest.chunks(MAX_BATCH) {
            if timeout(FLUSH_LIMIT, self.send(batch.to_vec())).await.is_err() {
                debug!(spans = batch.len(), "not waiting for the last spans to be sent");
                break;
            }
        }
    }

    /// The next spans. Cancel safe: what was taken from the queue is kept.
    async fn batch(&mut self) -> Vec<Ended> {
        if self.taken.is_empty() && self.ended.recv_many(&mut self.taken, MAX_BATCH).await == 0 {
            // No span can follow.
            pending::<()>().await;
        }
        let deadline = Instant::now() + DELAY;
        while self.taken.len() < MAX_BATCH {
            let room = MAX_BATCH - self.taken.len();
            if !matches!(timeout_at(deadline, self.ended.recv_many(&mut self.taken, room)).await, Ok(1..)) {
                break;
            }
        }
        std::mem::take(&mut self.taken)
    }

    async fn send(&mut self, batch: Vec<Ended>) {
        let count = batch.len() as u64;
        let request = self.request(batch);
        let mut retries = RETRIES.iter();
        loop {
            match self.transport.send(&request).await {
                Ok(rejected) => {
                    let (rejected, reason) = rejected.unwrap_or_default();
                    if rejected > 0 {
                        warn!(rejected, reason, "the collector has rejected spans");
                    }
                    self.metrics.dropped.inc_by(rejected);
                    self.metrics.sent.inc_by(count.saturating_sub(rejected));
                    if std::mem::take(&mut self.is_failing) {
                        info!("spans are sent again");
                    }
                    return;
                }
                Err(error) => {
                    self.metrics.failures.inc();
                    if !std::mem::replace(&mut self.is_failing, true) {
                        warn!(%error, "spans cannot be sent; they are tried again, and then dropped and counted");
                    }
                    let retry = retries.next().filter(|_| error.is_temporary());
                    debug!(%error, ?retry, "spans were not sent");
                    let Some(delay) = retry else { break };
                    sleep(*delay).await;
                }
            }
        }
        self.metrics.dropped.inc_by(count);
    }

    fn request(&self, batch: Vec<Ended>) -> Request {
        let attributes = self.attributes.iter().map(|(key, value)| KeyValue::text(key, value)).collect();
        let scope =
            Scope { name: env!("CARGO_PKG_NAME").to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() };
        let spans = batch.into_iter().map(Span::from).collect();
        let scope_spans = vec![ScopeSpans { scope: Some(scope), spans }];
        Request {
            resource_spans: vec![ResourceSpans { resource: Some(Resource { attributes }), scope_spans }],
        }
    }
}
