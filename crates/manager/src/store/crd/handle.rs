//! The handle of callers to the backend.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use replica_count_core::change::{Change, Changed};
use replica_count_core::entry_target::EntryTarget;
use replica_count_core::stored::Entry;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::Instant;

use super::failure;
use super::metrics::CrdMetrics;
use super::objects::Objects;
use super::queue::{Message, Submission};
use super::reading::Reading;
use crate::store::backend::Backend;
use crate::store::error::StoreError;

/// How long a change may take, from its submission on. After that, it is given up.
const PATIENCE: Duration = Duration::from_secs(12);

/// Submits changes to the writer.
#[derive(Debug)]
pub(in crate::store) struct Handle {
    pub(super) objects: Arc<Mutex<Objects>>,
    pub(super) queue: mpsc::Sender<Message>,
    /// The places of changes that wait.
    pub(super) places: Arc<Semaphore>,
    pub(super) metrics: CrdMetrics,
    pub(super) reading: Reading,
}

impl Backend for Handle {
    fn apply(&self, target: EntryTarget, change: Change) -> BoxFuture<'_, Result<Changed, StoreError>> {
        let (answer, answered) = oneshot::channel();
        let deadline = Instant::now() + PATIENCE;
        let submitted = match Arc::clone(&self.places).try_acquire_owned() {
            Ok(place) => {
                let submission = Submission { target, change, answer, deadline, place };
                self.queue.try_send(Message::Apply(submission)).map_err(|refused| match refused {
                    mpsc::error::TrySendError::Full(_) => failure::busy(),
                    mpsc::error::TrySendError::Closed(_) => failure::closed(),
                })
            }
            Err(_) => Err(failure::busy()),
        };
        async move {
            submitted?;
            // The writer answers every change that it took. If it died before that, the outcome is unknown.
            answered.await.unwrap_or_else(|_| Err(failure::uncertain(None)))
        }
        .boxed()
    }

    fn entry_to_change(&self, target: &EntryTarget) -> Option<Entry> {
        let objects = self.objects.lock().unwrap_or_else(PoisonError::into_inner);
        objects.counting(target).map(|(_, known)| known.said.entry_to_change())
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async {
            // An error means that the writer has already ended.
            let _ = self.queue.send(Message::Close).await;
        }
        .boxed()
    }

    fn problem(&self) -> Option<String> {
        self.reading.problem()
    }

    /// The API server orders the changes of all servers.
    fn is_locked(&self) -> bool {
        true
    }

    fn is_read(&self) -> bool {
        self.reading.is_read()
    }

    fn is_current(&self) -> bool {
        self.reading.is_current()
    }

    fn register(&self, registry: &mut Registry) {
        self.metrics.register(registry);
        registry.register_collector(Box::new(Available(self.reading.clone())));
    }
}

/// Whether settings are readable, on each scrape.
#[derive(Debug)]
struct Available(Reading);

impl Collector for Available {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let gauge = ConstGauge::new(i64::from(self.0.is_current()));
        let help = "Whether the API server shows ReplicaCounts; otherwise nothing is enforced.";
        gauge.encode(encoder.encode_descriptor("available", help, None, gauge.metric_type())?)
    }
}
