//! The only code that writes to workloads.

mod answer;
mod request;

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use answer::{failed, lacks_right, refusal, written};
use http::StatusCode;
use kube::Client;
use replica_count_core::decide::{Method, Repair};
use replica_count_core::failures::{Failure, WriteError};
use replica_count_core::target::Target;
use tokio::time::Instant;
use tracing::{debug, warn};

pub use self::answer::Written;
use super::cause::{Cause, chain};
use super::exchange::exchange;
use crate::leadership::{Leadership, NoAnswer};

/// Why a write has stored nothing, as far as is known.
#[derive(Debug)]
pub enum NotWritten {
    /// This server may not write.
    NotSent,
    /// It failed.
    Failed(WriteError),
}

impl NotWritten {
    /// Whether a patch may do what this update did not: it is stale only after a change of the count.
    pub fn leaves_a_patch(&self) -> bool {
        matches!(self, Self::Failed(error) if error.failure == Failure::Stale || is_unavailable(error))
    }
}

impl From<WriteError> for NotWritten {
    fn from(error: WriteError) -> Self {
        Self::Failed(error)
    }
}

/// When a write that the guard is to do is repeated: the guard follows its object within 5 to 20 ms.
const GUARD_DELAYS: [Duration; 5] = [
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(20),
    Duration::from_millis(50),
    Duration::from_millis(100),
];

/// How long it is not tried again to update, once that was refused.
const WITHOUT_UPDATES: Duration = Duration::from_mins(10);

/// Writes counts.
pub struct Scales {
    client: Client,
    leadership: Leadership,
    /// When it was last refused to update. Every count can be patched instead.
    refused: Mutex<Option<Instant>>,
}

impl Scales {
    /// Writes through `client` as long as `leadership` allows it.
    pub fn new(client: Client, leadership: Leadership) -> Self {
        Self { client, leadership, refused: Mutex::default() }
    }

    /// How to write what would be written like this: no update where that was refused.
    pub fn available(&self, method: Method) -> Method {
        let refused = *self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let may_update = refused.is_none_or(|at| at.elapsed() >= WITHOUT_UPDATES);
        if matches!(method, Method::Update { .. }) && !may_update { Method::Patch } else { method }
    }

    /// Writes the desired count if the workload has not changed since the decision. If the guard is to do that, and it
    /// does not in time, what was stored has another count.
    pub async fn write(&self, target: &Target, repair: &Repair) -> Result<Written, NotWritten> {
        let answer = match repair.method {
            Method::Guarded => self.leave_to_guard(target, repair).await,
            Method::Update { .. } | Method::Patch | Method::Apply { .. } => self.send(target, repair).await,
        };
        if matches!(repair.method, Method::Update { .. })
            && let Err(NotWritten::Failed(error)) = &answer
            && is_unavailable(error)
        {
            self.remember_refusal(&error.message);
        }
        answer
    }

    async fn leave_to_guard(&self, target: &Target, repair: &Repair) -> Result<Written, NotWritten> {
        let mut written = self.send(target, repair).await?;
        for delay in GUARD_DELAYS {
            if written.replicas == repair.to {
                break;
            }
            tokio::time::sleep(delay).await;
            written = self.send(target, repair).await?;
        }
        Ok(written)
    }

    fn remember_refusal(&self, error: &str) {
        let before = self.refused.lock().unwrap_or_else(PoisonError::into_inner).replace(Instant::now());
        if before.is_none() {
            warn!(error, "scale cannot be updated, so counts are patched, which is a little slower");
        }
    }

    async fn send(&self, target: &Target, repair: &Repair) -> Result<Written, NotWritten> {
        let send = async |time| {
            let request = request::request(target, repair, time);
            let request = request.map_err(|error| failed(Failure::Failed, None, error.to_string()))?;
            exchange(&self.client, request).await.map_err(|error| unreachable(&error))
        };
        let answer = self.leadership.write(repair.deadline, send).await;
        let (head, body) = answer.map_err(unanswered)??;
        if !head.status.is_success() {
            return Err(refusal(&head, &body).into());
        }
        written(&head, &body).ok_or_else(|| {
            warn!(%target, text = ?answer::beginning(&body), "the answer to a write is not a Scale");
            let message = "the answer is not a Scale; see the log".to_owned();
            failed(Failure::Failed, Some(head.status), message).into()
        })
    }
}

/// Whether no count can be updated here, for want of the right or of protobuf.
fn is_unavailable(error: &WriteError) -> bool {
    let is_unknown = error.code == Some(StatusCode::UNSUPPORTED_MEDIA_TYPE.as_u16());
    is_unknown || error.failure == Failure::Forbidden && lacks_right(&error.message, "update")
}

fn unanswered(why: NoAnswer) -> NotWritten {
    let (after, hint) = match why {
        NoAnswer::NotSent => return NotWritten::NotSent,
        NoAnswer::Deadline { after, is_cut: false } => (after, ""),
        NoAnswer::Deadline { after, is_cut: true } => (
            after,
            "; this server may write no longer before it renews its lease: if admission needs more time, raise \
             --lease-renew-deadline and --lease-duration",
        ),
    };
    let message = format!("no answer within {after:?}; the write may have happened{hint}");
    failed(Failure::Deadline, None, message).into()
}

/// There was no answer. Clients see the message, so it is only the kind of the cause.
fn unreachable(error: &kube::Error) -> WriteError {
    // The watches warn of the same cause.
    debug!(reason = chain(error), "no answer to a write");
    failed(Failure::Unreachable, None, Cause::of(error).to_string())
}

#[cfg(test)]
mod tests;
