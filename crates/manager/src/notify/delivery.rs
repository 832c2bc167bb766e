//! Sends the messages of one receiver, one after the other.

use std::sync::Arc;
use std::time::Duration;

use replica_count_core::backoff::Backoff;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};
use tracing::{debug, info, warn};

use super::config::Config;
use super::metrics::NotifyMetrics;
use super::receiver::{Attempt, Receiver, Service};
use crate::clock;

/// Messages of one receiver that may wait.
pub(super) const MAX_WAITING: usize = 32;
/// The time between two messages of one receiver: Slack takes one a second.
const PACE: Duration = Duration::from_secs(1);
/// The time between two attempts.
const BACKOFF: Backoff = Backoff { base: Duration::from_secs(1), cap: Duration::from_mins(1) };
/// How long a message is tried.
const PATIENCE: Duration = Duration::from_mins(15);

/// A rendered message.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) id: String,
    pub(super) route: String,
    pub(super) service: Service,
    pub(super) body: Vec<u8>,
    pub(super) begun: Instant,
}

/// Sends the messages of one receiver.
pub(super) struct Delivery {
    pub(super) name: String,
    pub(super) queue: mpsc::Receiver<Message>,
    /// The receiver may change while its messages wait.
    pub(super) config: watch::Receiver<Arc<Config>>,
    pub(super) metrics: NotifyMetrics,
    /// Whether the last message failed, which was logged.
    pub(super) is_failing: bool,
}

impl Delivery {
    /// Runs until no more messages can be added and all were sent.
    pub(super) async fn run(mut self) {
        while let Some(message) = self.queue.recv().await {
            self.deliver(&message).await;
            self.metrics.waiting.dec();
            sleep(PACE).await;
        }
    }

    /// Tries until the message is accepted or will never be.
    async fn deliver(&mut self, message: &Message) {
        let (service, id, route) = (message.service, &*message.id, &*message.route);
        for failures in 1.. {
            let Some(receiver) = self.receiver(service) else {
                self.metrics.dropped(service);
                return;
            };
            let attempt = receiver.send(id, &message.body, clock::now().wall).await;
            let (reason, after) = match attempt {
                Attempt::Accepted => {
                    self.metrics.sent(service);
                    debug!(id, route, receiver = &*self.name, attempts = failures, "notification sent");
                    if std::mem::take(&mut self.is_failing) {
                        info!(receiver = &*self.name, "notifications are accepted again");
                    }
                    return;
                }
                Attempt::Failed { reason } => return self.give_up(message, &reason),
                Attempt::Retry { reason, after } => (reason, after),
            };
            let delay = BACKOFF.delay(failures, fastrand::f64()).max(after.unwrap_or_default());
            if message.begun.elapsed() + delay > PATIENCE {
                return self.give_up(message, &reason);
            }
            self.metrics.retry(service);
            if !std::mem::replace(&mut self.is_failing, true) {
                warn!(receiver = &*self.name, route, reason, ?delay, "a notification is tried again");
            }
            sleep(delay).await;
        }
    }

    fn give_up(&mut self, message: &Message, reason: &str) {
        self.is_failing = true;
        self.metrics.failed(message.service);
        warn!(receiver = &*self.name, route = &*message.route, reason, "a notification was given up");
    }

    /// The receiver as it is configured now. `None`: it was removed, or takes other messages.
    fn receiver(&self, service: Service) -> Option<Arc<Receiver>> {
        let config = self.config.borrow();
        config.receivers.get(&self.name).filter(|receiver| receiver.service() == service).cloned()
    }
}
