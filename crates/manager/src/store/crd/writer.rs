//! The writer: carries out changes, those of one target one after the other, and finds out why the API server does not
//! show the objects.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use kube::Client;
use replica_count_core::entry_target::EntryTarget;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tracing::{debug, error, warn};

use super::change::Changer;
use super::fresh;
use super::kept::Kept;
use super::metrics::CrdMetrics;
use super::queue::{Lanes, Message, Submission};
use crate::kubernetes::replica_count::{Missing, check_installed};

/// Changes that are carried out at once.
const MAX_AT_ONCE: usize = 64;
/// How soon it is looked again whether the API server knows ReplicaCounts.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// How long they must be missing at the start: an API server that has just got the definition does not serve it yet.
const MISSING_AFTER: Duration = Duration::from_secs(2);

/// Writes ReplicaCounts.
pub struct Writer {
    pub(super) kept: Arc<Kept>,
    pub(super) client: Client,
    pub(super) queue: mpsc::Receiver<Message>,
    pub(super) metrics: CrdMetrics,
}

impl Writer {
    /// Carries out changes until [`Store::close`](crate::store::Store::close) is called or all handles are dropped, and
    /// then those that wait. Fails if the API server lacks the definition before anything was read.
    pub async fn run(self) -> Result<(), Missing> {
        let Self { kept, client, queue, metrics } = self;
        let changer = Changer { kept: &kept, client: &client, metrics: &metrics };
        tokio::select! {
            () = carry_out(changer, queue) => Ok(()),
            missing = supervise(&kept, &client) => Err(missing),
        }
    }
}

async fn carry_out(changer: Changer<'_>, mut queue: mpsc::Receiver<Message>) {
    let (mut lanes, mut running, mut is_open) = (Lanes::default(), FuturesUnordered::new(), true);
    loop {
        tokio::select! {
            Some(target) = running.next() => {
                running.extend(lanes.next(&target).map(|submission| carry_out_one(changer, submission)));
            }
            message = queue.recv(), if is_open && running.len() < MAX_AT_ONCE => {
                match message {
                    Some(Message::Apply(submission)) => {
                        running.extend(lanes.add(*submission).map(|submission| carry_out_one(changer, submission)));
                    }
                    // Queued messages still arrive; after that the queue ends.
                    Some(Message::Close) => queue.close(),
                    None => is_open = false,
                }
            }
            else => return,
        }
    }
}

async fn carry_out_one(changer: Changer<'_>, submission: Submission) -> EntryTarget {
    let Submission { target, change, answer, deadline, place } = submission;
    drop(place);
    // What nobody waits for could replace something newer.
    if answer.is_closed() {
        debug!(%target, "not begun: the caller no longer waits");
        return target;
    }
    let outcome = changer.apply(&target, &change, deadline).await;
    // An error means that the caller no longer waits for the answer.
    let _ = answer.send(outcome);
    target
}

/// Looks after what the watch cannot know. Returns only if the definition is missing at the start.
async fn supervise(kept: &Kept, client: &Client) -> Missing {
    if let Some(missing) = missing_at_start(kept, client).await {
        return missing;
    }
    let (mut was_missing, mut is_logged) = (false, false);
    loop {
        let are_all_read = read_doubtful(kept, client).await;
        if kept.reading.refused().is_none() {
            (was_missing, is_logged) = (false, false);
            if are_all_read {
                kept.attention.notified().await;
            } else {
                wait(kept).await;
            }
            continue;
        }
        match check_installed(client).await {
            Ok(Some(missing)) => {
                was_missing = true;
                kept.reading.record_refused(format!("nothing is enforced: {missing}"));
            }
            Ok(None) => {
                if std::mem::take(&mut was_missing) {
                    kept.restart.notify_one();
                }
            }
            Err(error) => debug!(%error, "cannot ask whether the API server knows ReplicaCounts"),
        }
        if let Some(problem) = kept.reading.refused().filter(|_| !is_logged) {
            is_logged = true;
            error!(problem, "the API server does not show ReplicaCounts");
        }
        wait(kept).await;
    }
}

/// What the API server lacks at the start, and after some time. `None`: nothing.
async fn missing_at_start(kept: &Kept, client: &Client) -> Option<Missing> {
    let mut missing_since = None;
    loop {
        match check_installed(client).await {
            Ok(None) => return None,
            Ok(Some(missing)) => {
                if missing_since.get_or_insert_with(Instant::now).elapsed() >= MISSING_AFTER {
                    return Some(missing);
                }
            }
            Err(error) => debug!(%error, "cannot ask whether the API server knows ReplicaCounts"),
        }
        wait(kept).await;
    }
}

/// Reads what the last listing should have contained; returns whether that was possible. What could not be read stays
/// doubtful.
async fn read_doubtful(kept: &Kept, client: &Client) -> bool {
    let mut unread = Vec::new();
    for key in kept.take_doubtful() {
        if let Err(error) = fresh::read(kept, client, &key).await {
            warn!(namespace = &*key.namespace, name = &*key.name, %error, "not read; tried again");
            unread.push(key);
        }
    }
    let are_all_read = unread.is_empty();
    kept.put_back_doubtful(unread);
    are_all_read
}

async fn wait(kept: &Kept) {
    tokio::select! {
        () = kept.attention.notified() => {}
        () = sleep(CHECK_INTERVAL) => {}
    }
}
