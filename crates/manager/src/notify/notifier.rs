//! Collects what happens into messages, and hands them to the receivers.

use std::collections::HashMap;
use std::future::pending;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use replica_count_core::history::entry::Entry;
use replica_count_core::notice::Notice;
use replica_count_core::notice::digest::Digest;
use replica_count_core::notice::firing::Firing;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::config::{Config, Route};
use super::delivery::{Delivery, MAX_WAITING, Message};
use super::metrics::NotifyMetrics;
use crate::clock;
use crate::history::shared::{Happened, SharedHistory};
use crate::leadership::Leadership;

/// How long the last messages may take when the server ends.
const LAST: Duration = Duration::from_secs(3);
/// Characters of the random part of an id.
const ID_LENGTH: usize = 24;

/// Collects what happens.
pub struct Notifier {
    /// What happens.
    pub happened: Receiver<Happened>,
    /// What happened before: alerts of it may still fire.
    pub history: SharedHistory,
    /// Receivers and routes, now and after each change.
    pub config: watch::Receiver<Arc<Config>>,
    /// Who sends.
    pub leadership: Leadership,
    /// The metrics.
    pub metrics: NotifyMetrics,
}

/// A message that collects.
#[derive(Debug)]
struct Collecting {
    digest: Digest,
    due: Instant,
}

/// What the notifier works on.
#[derive(Default)]
struct Outbox {
    /// By route.
    collecting: HashMap<String, Collecting>,
    /// The term for which the past was recalled.
    term: Option<u64>,
    /// The alerts that were sent, by route.
    firing: HashMap<String, Firing>,
    /// By receiver.
    queues: HashMap<String, mpsc::Sender<Message>>,
    deliveries: JoinSet<()>,
    /// Whether the last message was dropped, which was logged.
    is_dropping: bool,
}

impl Notifier {
    /// Runs until `shutdown`. Then what was collected gets a little time.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut outbox = Outbox::default();
        let mut config = Arc::clone(&self.config.borrow_and_update());
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                Ok(()) = self.config.changed() => {
                    self.flush(&mut outbox, &config, None);
                    config = Arc::clone(&self.config.borrow_and_update());
                    // What waits for a receiver that is gone is dropped by its delivery.
                    outbox.queues.retain(|name, _| config.receivers.contains_key(name));
                    outbox.firing.retain(|name, _| config.routes.iter().any(|route| route.name == *name));
                }
                received = self.happened.recv() => match received {
                    Ok(happened) => self.add(&mut outbox, &config, &happened),
                    Err(RecvError::Lagged(missed)) => self.miss(&mut outbox, missed),
                    Err(RecvError::Closed) => break,
                },
                Some(ended) = outbox.deliveries.join_next() => propagate(ended),
                () = due(&outbox.collecting) => self.flush(&mut outbox, &config, Some(Instant::now())),
            }
        }
        self.finish(outbox, &config).await;
    }

    /// Sends what was collected, if that does not take long.
    async fn finish(mut self, mut outbox: Outbox, config: &Config) {
        loop {
            match self.happened.try_recv() {
                Ok(happened) => self.add(&mut outbox, config, &happened),
                Err(TryRecvError::Lagged(missed)) => self.miss(&mut outbox, missed),
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        self.flush(&mut outbox, config, None);
        outbox.queues.clear();
        let sent = timeout(LAST, async {
            while let Some(ended) = outbox.deliveries.join_next().await {
                propagate(ended);
            }
        });
        if sent.await.is_err() {
            warn!(after = ?LAST, waiting = self.metrics.waiting.get(), "not waiting for notifications");
        }
    }

    fn add(&self, outbox: &mut Outbox, config: &Config, happened: &Happened) {
        let Happened::Event { entry, is_own, .. } = happened else { return };
        let term = self.leadership.term();
        // Whoever has recorded it sends it.
        if !is_own || term.is_none() {
            return observe(outbox, config, entry);
        }
        if outbox.term != term {
            outbox.term = term;
            self.recall(outbox, config, entry.id);
        }
        for route in &config.routes {
            let Some(receiver) = config.receivers.get(&route.receiver) else { continue };
            let (service, firing) =
                (receiver.service(), outbox.firing.entry(route.name.clone()).or_default());
            let collected = outbox.collecting.get(&route.name).map(|collecting| &collecting.digest);
            if !service.takes(&route.filter, entry, firing, collected) {
                continue;
            }
            let new = || Collecting { digest: service.digest(), due: Instant::now() + route.window };
            let collecting = outbox.collecting.entry(route.name.clone()).or_insert_with(new);
            collecting.digest.add(entry);
        }
    }

    /// Takes into account what another server has sent, or this one before a restart or in an earlier term. With
    /// ReplicaCounts, that is known only once they have been read, which comes before the first event of a term.
    fn recall(&self, outbox: &mut Outbox, config: &Config, before: u64) {
        let is_past = |entry: &&Arc<Entry>| entry.id < before;
        let past: Vec<_> = self.history.read(|history| history.entries().filter(is_past).cloned().collect());
        for entry in past {
            observe(outbox, config, &entry);
        }
    }

    /// Records that there were too many events at once.
    fn miss(&self, outbox: &mut Outbox, missed: u64) {
        if self.leadership.term().is_some() {
            self.metrics.missed.inc_by(missed);
            for collecting in outbox.collecting.values_mut() {
                collecting.digest.miss(missed);
            }
        }
    }

    /// Hands messages that are due to their receivers; without a time, all of them.
    fn flush(&self, outbox: &mut Outbox, config: &Config, now: Option<Instant>) {
        for route in &config.routes {
            let is_due = |collecting: &Collecting| now.is_none_or(|now| collecting.due <= now);
            if outbox.collecting.get(&route.name).is_some_and(is_due)
                && let Some(Collecting { digest, .. }) = outbox.collecting.remove(&route.name)
            {
                self.enqueue(outbox, config, route, &digest);
            }
        }
    }

    fn enqueue(&self, outbox: &mut Outbox, config: &Config, route: &Route, digest: &Digest) {
        let Some(receiver) = config.receivers.get(&route.receiver) else { return };
        let (id, service) = (message_id(), receiver.service());
        let (route_name, filter, links, at) = (&route.name, &route.filter, &config.links, clock::now().wall);
        let notice = Notice { id: &id, route: route_name, filter, digest, links, at };
        let ids = std::iter::once(id.clone()).chain(std::iter::repeat_with(message_id));
        let firing = outbox.firing.entry(route.name.clone()).or_default();
        for (body, id) in service.render(&notice, firing).into_iter().zip(ids) {
            let body = body.to_string().into_bytes();
            let message = Message { id, route: route.name.clone(), service, body, begun: Instant::now() };
            self.send(outbox, &route.receiver, message);
        }
    }

    fn send(&self, outbox: &mut Outbox, receiver: &str, message: Message) {
        let service = message.service;
        self.metrics.waiting.inc();
        if self.queue(outbox, receiver).try_send(message).is_ok() {
            outbox.is_dropping = false;
            return;
        }
        self.metrics.waiting.dec();
        self.metrics.dropped(service);
        if !std::mem::replace(&mut outbox.is_dropping, true) {
            warn!(
                receiver,
                waiting = MAX_WAITING,
                "notifications are dropped: too many wait for this receiver"
            );
        }
    }

    /// The queue of a receiver, whose delivery is started if necessary.
    fn queue(&self, outbox: &mut Outbox, receiver: &str) -> mpsc::Sender<Message> {
        if let Some(queue) = outbox.queues.get(receiver) {
            return queue.clone();
        }
        let (sender, queue) = mpsc::channel(MAX_WAITING);
        let delivery = Delivery {
            name: receiver.to_owned(),
            queue,
            config: self.config.clone(),
            metrics: self.metrics.clone(),
            is_failing: false,
        };
        outbox.deliveries.spawn(delivery.run());
        outbox.queues.insert(receiver.to_owned(), sender.clone());
        sender
    }
}

/// Takes into account what another server sends, or this one has sent before it was restarted.
fn observe(outbox: &mut Outbox, config: &Config, entry: &Entry) {
    let now = clock::now().wall;
    for route in &config.routes {
        if config.receivers.get(&route.receiver).is_some_and(|receiver| receiver.service().has_ends()) {
            outbox.firing.entry(route.name.clone()).or_default().observe(&route.filter, entry, now);
        }
    }
}

/// A panic of a delivery ends the notifier, and with it the server.
fn propagate(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        resume_unwind(error.into_panic());
    }
}

/// A new id for a message.
pub fn message_id() -> String {
    let random: String = std::iter::repeat_with(fastrand::alphanumeric).take(ID_LENGTH).collect();
    format!("msg_{random}")
}

/// Waits until a message is due.
async fn due(collecting: &HashMap<String, Collecting>) {
    match collecting.values().map(|collecting| collecting.due).min() {
        Some(due) => sleep_until(due).await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests;
