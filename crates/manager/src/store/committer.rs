//! The committer: takes the changes that wait, makes them durable together, lets memory follow and answers.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::time::Instant;

use replica_count_core::change::ChangeError;
use replica_count_core::settings_file::Text;
use replica_count_core::target::Target;
use tokio::sync::{mpsc, oneshot};
use tracing::{debug, error};

use super::batch::Batch;
use super::file::{ReplaceError, SettingsFile};
use super::metrics::{FULL, FailureLabels, UNAVAILABLE, UNCERTAIN};
use super::{Applied, Message, SharedSettings, StoreError, StoreMetrics, Submission};

/// How many changes share one write at most, so that the first of them does not wait for ever later ones.
const BATCH_CHANGES: usize = 1024;

/// The one who writes the settings file. Holds its lock until it is dropped.
#[derive(Debug)]
pub struct Committer {
    settings: SharedSettings,
    file: SettingsFile,
    queue: mpsc::Receiver<Message>,
    metrics: StoreMetrics,
    /// The text of the settings.
    text: Text,
    _lock: File,
}

/// What the settings may take in the file, in bytes: more than 150,000 of the usual size. In memory they take about four
/// times as much, which has to fit into a pod.
pub(super) const LONGEST_TEXT: usize = 32 << 20;

/// A change whose outcome waits for that of its batch.
struct Decided {
    answer: oneshot::Sender<Result<Applied, StoreError>>,
    decision: Result<Applied, ChangeError>,
}

impl Committer {
    pub(super) fn new(
        settings: SharedSettings,
        file: SettingsFile,
        lock: File,
        queue: mpsc::Receiver<Message>,
        metrics: StoreMetrics,
    ) -> Self {
        metrics.show_settings(settings.read().len());
        let text = Text::of(settings.read().iter().map(|(target, setting)| (target, &**setting)));
        Self { settings, file, queue, metrics, text, _lock: lock }
    }

    /// Commits changes until [`Store::close`](super::Store::close) is called or all handles are gone.
    ///
    /// Blocks on the disk, so it runs on a thread of its own that the caller joins (`spawn_blocking` is one). An end
    /// before it was asked for is a panic: the caller finds it in the join, and changes fail from then on.
    ///
    /// `changed` is called for each changed target after memory has the change and before the one who submitted it
    /// gets the answer, so that the work that a change brings is not lost when nobody waits for the answer.
    pub fn run(mut self, changed: impl Fn(&Target)) {
        let mut messages = Vec::new();
        while self.queue.blocking_recv_many(&mut messages, BATCH_CHANGES) > 0 {
            let mut submissions = Vec::with_capacity(messages.len());
            for message in messages.drain(..) {
                match message {
                    Message::Apply(submission) => submissions.push(submission),
                    // What is queued already still comes; after that the queue ends.
                    Message::Close => self.queue.close(),
                }
            }
            self.commit(submissions, &changed);
        }
    }

    fn commit(&mut self, submissions: Vec<Submission>, changed: impl Fn(&Target)) {
        let (batch, decided) = self.decide(submissions);
        let outcome = if batch.is_empty() { Ok(()) } else { self.replace(&batch, decided.len()) };
        // Memory shows what the file holds: the new content after an uncertain commit too.
        if !batch.is_empty() && matches!(outcome, Ok(()) | Err(StoreError::Uncertain)) {
            self.text.accept();
            let mut settings = self.settings.write();
            batch.apply_to(&mut settings);
            self.metrics.show_settings(settings.len());
            drop(settings);
            batch.targets().for_each(changed);
        }
        for Decided { answer, decision } in decided {
            // An error says that nobody waits for the answer any more.
            let _ = answer.send(answer_for(decision, &outcome));
        }
    }

    /// Decides all changes in order and proposes the text that they lead to.
    fn decide(&mut self, submissions: Vec<Submission>) -> (Batch, Vec<Decided>) {
        // Readers come and go meanwhile; nobody else writes.
        let settings = self.settings.read();
        let mut batch = Batch::default();
        let is_full = self.text.current().len() >= LONGEST_TEXT;
        let mut decided = Vec::with_capacity(submissions.len());
        for Submission { target, change, answer } in submissions {
            if is_full && change.grows(settings.get(&target).map(|setting| &**setting)) {
                let _ = answer.send(Err(StoreError::TooMany));
                continue;
            }
            let decision = batch.add(&settings, target, &change);
            decided.push(Decided { answer, decision });
        }
        if !batch.is_empty() {
            self.text.propose(batch.changes());
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
                error!(%error, reason, changes, targets = batch.targets().count(), "commit failed");
                Err(outcome)
            }
        }
    }
}

/// What the one who submitted a change is told, and how the failure is counted.
fn classify(error: &ReplaceError) -> (StoreError, &'static str) {
    match error {
        ReplaceError::Uncertain { .. } => (StoreError::Uncertain, UNCERTAIN),
        ReplaceError::Unchanged { reason, .. } if is_full(reason) => (StoreError::Full, FULL),
        ReplaceError::Unchanged { reason, .. } => {
            (StoreError::Unavailable { reason: reason.to_string().into() }, UNAVAILABLE)
        }
    }
}

fn is_full(reason: &io::Error) -> bool {
    matches!(reason.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge)
}

/// A refusal holds if the changes that led to it are in force; otherwise it shares their failure.
fn answer_for(
    decision: Result<Applied, ChangeError>,
    outcome: &Result<(), StoreError>,
) -> Result<Applied, StoreError> {
    match (decision, outcome) {
        (Ok(applied), Ok(())) => Ok(applied),
        (Err(refusal), Ok(()) | Err(StoreError::Uncertain)) => Err(refusal.into()),
        (_, Err(failure)) => Err(failure.clone()),
    }
}
