//! The committer: takes the changes that wait, makes them durable together, publishes them and answers.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::time::Instant;

use replica_count_core::change::{ChangeError, Changed};
use replica_count_core::settings_file::Text;
use tokio::sync::{mpsc, oneshot};
use tracing::{debug, error};

use super::batch::Batch;
use super::disk::{ReplaceError, SettingsFile};
use super::failure;
use super::metrics::{FULL, FailureLabels, FileMetrics, UNAVAILABLE, UNCERTAIN};
use super::queue::{Message, Submission};
use crate::store::error::{BackendReason, StoreError};
use crate::store::feed::{Feed, Follower};
use crate::store::mirror::Mirror;

/// How many changes share one write at most, so that the first of them does not wait for ever later ones.
const BATCH_CHANGES: usize = 1024;
/// The most that the settings may take in the file, in bytes: more than 150,000 of the usual size. In memory they take
/// about four times as much, which has to fit into a pod.
pub(super) const LONGEST_TEXT: usize = 32 << 20;

/// Writes the settings file. It holds the lock of the file until it is dropped.
#[derive(Debug)]
pub struct Committer {
    pub(super) mirror: Mirror,
    pub(super) file: SettingsFile,
    pub(super) queue: mpsc::Receiver<Message>,
    pub(super) metrics: FileMetrics,
    /// The text of the settings.
    pub(super) text: Text,
    pub(super) lock: File,
}

/// A change whose outcome waits for that of its batch.
struct Decided {
    answer: oneshot::Sender<Result<Changed, StoreError>>,
    decision: Result<Changed, ChangeError>,
}

impl Committer {
    /// Commits changes until [`Store::close`](crate::store::Store::close) is called or all handles are gone.
    ///
    /// Blocks on the disk, so it runs on a thread of its own that the caller joins (`spawn_blocking` is one). An end
    /// before it was asked for is a panic: the caller finds it in the join, and changes fail from then on.
    pub fn run(self, follower: impl Follower) {
        let Self { mirror, file, mut queue, metrics, text, lock } = self;
        let mut writer = Writer { feed: Feed::new(mirror, follower), file, metrics, text };
        let mut messages = Vec::new();
        while queue.blocking_recv_many(&mut messages, BATCH_CHANGES) > 0 {
            let mut submissions = Vec::with_capacity(messages.len());
            for message in messages.drain(..) {
                match message {
                    Message::Apply(submission) => submissions.push(submission),
                    // What is queued already still comes; after that the queue ends.
                    Message::Close => queue.close(),
                }
            }
            writer.commit(submissions);
        }
        drop(lock);
    }
}

/// The committer at work.
struct Writer<F> {
    feed: Feed<F>,
    file: SettingsFile,
    metrics: FileMetrics,
    text: Text,
}

impl<F: Follower> Writer<F> {
    fn commit(&mut self, submissions: Vec<Submission>) {
        let (batch, decided) = self.decide(submissions);
        let outcome = if batch.is_empty() { Ok(()) } else { self.replace(&batch, decided.len()) };
        // Memory shows what the file holds: the new content after an uncertain commit, too.
        let is_in_force = outcome.as_ref().map_or_else(is_uncertain, |()| true);
        let changes = if is_in_force { batch.changes() } else { &[] };
        if !changes.is_empty() {
            self.text.accept();
        }
        self.feed.publish(changes, || {
            for Decided { answer, decision } in decided {
                // An error says that nobody waits for the answer any more.
                let _ = answer.send(answer_for(decision, &outcome));
            }
        });
    }

    /// Decides all changes in order and proposes the text that they lead to.
    fn decide(&mut self, submissions: Vec<Submission>) -> (Batch, Vec<Decided>) {
        // Readers come and go meanwhile; nobody else writes.
        let settings = self.feed.mirror().read();
        let mut batch = Batch::default();
        let is_full = self.text.current().len() >= LONGEST_TEXT;
        let mut decided = Vec::with_capacity(submissions.len());
        for Submission { target, change, answer } in submissions {
            if is_full && change.grows(settings.get(&target).map(|setting| &**setting)) {
                let _ = answer.send(Err(failure::too_many()));
                continue;
            }
            let decision = batch.add(&settings, target, &change);
            decided.push(Decided { answer, decision });
        }
        drop(settings);
        if !batch.is_empty() {
            self.text.propose(batch.settings());
        }
        (batch, decided)
    }

    fn replace(&self, batch: &Batch, changes: usize) -> Result<(), StoreError> {
        let start = Instant::now();
        let outcome = self.file.replace(self.text.proposed());
        let duration = start.elapsed();
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
                error!(%error, reason, changes, targets = batch.settings().len(), "commit failed");
                Err(outcome)
            }
        }
    }
}

/// What the caller who submitted a change is told, and how the failure is counted.
fn classify(error: &ReplaceError) -> (StoreError, &'static str) {
    match error {
        ReplaceError::Uncertain { .. } => (failure::uncertain(), UNCERTAIN),
        ReplaceError::Unchanged { reason, .. } if is_full(reason) => (failure::full(), FULL),
        ReplaceError::Unchanged { reason, .. } => (failure::unavailable(&reason.to_string()), UNAVAILABLE),
    }
}

fn is_full(reason: &io::Error) -> bool {
    matches!(reason.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge)
}

fn is_uncertain(error: &StoreError) -> bool {
    error.backend_reason() == Some(BackendReason::Uncertain)
}

/// A refusal holds if the changes that led to it are in force; otherwise it shares their failure.
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
