//! The committer: takes the queued changes, makes them durable together, publishes them and answers.

use std::path::PathBuf;
use std::time::Instant;

use replica_count_core::change::{ChangeError, Changed};
use replica_count_core::settings_file::Text;
use replica_count_core::stored::Stored;
use tokio::sync::{mpsc, oneshot};
use tracing::{debug, error};

use super::batch::Batch;
use super::disk::{ReplaceError, SettingsFile, is_full};
use super::failure;
use super::lock::Lock;
use super::metrics::{FULL, FailureLabels, FileMetrics, UNAVAILABLE, UNCERTAIN};
use super::queue::{Message, Submission};
use super::writable::Writable;
use crate::store::error::{BackendReason, StoreError};
use crate::store::feed::{Feed, Subscriber};
use crate::store::mirror::Mirror;

/// The maximum number of changes in one write, so that the first does not wait for later ones indefinitely.
const BATCH_CHANGES: usize = 1024;
/// The size limit of the settings in the file, in bytes: more than 150,000 settings of the usual size. In memory they
/// take about four times as much, which must fit into a pod.
pub(super) const LONGEST_TEXT: usize = 32 << 20;

/// Writes the settings file. It holds the lock of the file until it is dropped.
#[derive(Debug)]
pub struct Committer {
    pub(super) mirror: Mirror,
    pub(super) file: SettingsFile,
    pub(super) queue: mpsc::Receiver<Message>,
    pub(super) metrics: FileMetrics,
    pub(super) writable: Writable,
    /// The text of the settings.
    pub(super) text: Text,
    pub(super) lock: Lock,
}

/// A decided change that waits for the outcome of its batch.
struct Decided {
    answer: oneshot::Sender<Result<Changed, StoreError>>,
    decision: Result<Changed, ChangeError>,
}

impl Committer {
    /// The path of the settings file with all links resolved, plus `suffix`: that of another file beside it.
    pub fn beside(&self, suffix: &str) -> PathBuf {
        let mut path = self.file.path().as_os_str().to_owned();
        path.push(suffix);
        path.into()
    }

    /// Replaces all that is stored, for commands: no server runs. The error is one line.
    pub fn replace_all(&self, stored: &Stored) -> Result<(), String> {
        self.file.replace(Text::of(stored).current()).map_err(|error| error.to_string())
    }

    /// Commits changes until [`Store::close`](crate::store::Store::close) is called or all handles are dropped.
    ///
    /// Blocks on the disk, so it runs on a separate thread that the caller joins (`spawn_blocking` is one). It ends
    /// earlier only by a panic: then the join returns the error, and all later changes fail.
    pub fn run(self, subscriber: impl Subscriber) {
        let Self { mirror, file, mut queue, metrics, writable, text, lock } = self;
        let mut writer = Writer { feed: Feed::new(mirror, subscriber), file, metrics, writable, text };
        let mut messages = Vec::new();
        while queue.blocking_recv_many(&mut messages, BATCH_CHANGES) > 0 {
            let mut submissions = Vec::with_capacity(messages.len());
            for message in messages.drain(..) {
                match message {
                    Message::Apply(submission) => submissions.push(submission),
                    // Queued messages still arrive; after that the queue ends.
                    Message::Close => queue.close(),
                }
            }
            writer.commit(submissions);
        }
        drop(lock);
    }
}

/// The running committer.
struct Writer<S> {
    feed: Feed<S>,
    file: SettingsFile,
    metrics: FileMetrics,
    writable: Writable,
    text: Text,
}

impl<S: Subscriber> Writer<S> {
    fn commit(&mut self, submissions: Vec<Submission>) {
        let (batch, decided) = self.decide(submissions);
        let outcome = if batch.is_empty() { Ok(()) } else { self.replace(decided.len()) };
        // Memory shows the content of the file, which is also the new one after an uncertain commit.
        let is_in_effect = outcome.as_ref().map_or_else(is_uncertain, |()| true);
        let changes = if is_in_effect { batch.changes() } else { &[] };
        if !changes.is_empty() {
            self.text.accept();
        }
        self.feed.publish(changes);
        for Decided { answer, decision } in decided {
            // An error means that the caller no longer waits for the answer.
            let _ = answer.send(answer_for(decision, &outcome));
        }
    }

    /// Decides all changes in order and proposes the resulting text.
    fn decide(&mut self, submissions: Vec<Submission>) -> (Batch, Vec<Decided>) {
        // Others may read meanwhile; nobody else writes.
        let stored = self.feed.mirror().read();
        let mut batch = Batch::default();
        let is_full = self.text.current().len() >= LONGEST_TEXT;
        let mut decided = Vec::with_capacity(submissions.len());
        for Submission { target, change, answer } in submissions {
            let setting = target.known().and_then(|target| stored.settings.get(target));
            if is_full && change.grows(setting.map(|setting| &**setting)) {
                let _ = answer.send(Err(failure::too_many()));
                continue;
            }
            let decision = batch.add(&stored, target, &change);
            decided.push(Decided { answer, decision });
        }
        if !batch.is_empty() {
            self.text.propose(batch.settings(), batch.unsupported(&stored));
        }
        drop(stored);
        (batch, decided)
    }

    fn replace(&self, changes: usize) -> Result<(), StoreError> {
        let start = Instant::now();
        let outcome = self.file.replace(self.text.proposed());
        let duration = start.elapsed();
        self.writable.record(outcome.as_ref().err().map(ToString::to_string));
        match outcome {
            Ok(()) => {
                self.metrics.commits.inc();
                self.metrics.commit_seconds.observe(duration.as_secs_f64());
                self.metrics.commit_changes.observe(f64::from(u32::try_from(changes).unwrap_or(u32::MAX)));
                debug!(changes, bytes = self.text.proposed().len(), ?duration, "committed");
                Ok(())
            }
            Err(error) => {
                let (outcome, reason) = classify(&error);
                self.metrics.commit_failures.get_or_create(&FailureLabels { reason }).inc();
                error!(%error, reason, changes, "commit failed");
                Err(outcome)
            }
        }
    }
}

/// The error for the callers, and the reason for the metric.
fn classify(error: &ReplaceError) -> (StoreError, &'static str) {
    match error {
        ReplaceError::Uncertain { .. } => (failure::uncertain(), UNCERTAIN),
        ReplaceError::Unchanged { reason, .. } if is_full(reason) => (failure::full(), FULL),
        ReplaceError::Unchanged { reason, .. } => (failure::unavailable(&reason.to_string()), UNAVAILABLE),
    }
}

fn is_uncertain(error: &StoreError) -> bool {
    error.backend_reason() == Some(BackendReason::Uncertain)
}

/// The answer to one change. A refusal is valid if the changes that led to it are in effect; otherwise it fails like
/// them.
fn answer_for(
    decision: Result<Changed, ChangeError>,
    outcome: &Result<(), StoreError>,
) -> Result<Changed, StoreError> {
    match (decision, outcome) {
        (Ok(changed), Ok(())) => Ok(changed),
        (Err(refusal), Ok(())) => Err(refusal.into()),
        (Err(refusal), Err(failure)) if is_uncertain(failure) => Err(refusal.into()),
        (_, Err(failure)) => Err(failure.clone()),
    }
}
