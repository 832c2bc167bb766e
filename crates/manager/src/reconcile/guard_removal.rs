//! Removes the guards that an earlier run left, when the guard is off.

use std::time::Duration;

use kube::Client;
use replica_count_core::backoff::Backoff;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use crate::kubernetes::guard::{self, GuardError};
use crate::leadership::Leadership;

/// The delays between attempts.
const BACKOFF: Backoff = Backoff { base: Duration::from_secs(1), cap: Duration::from_mins(5) };

/// Removes guards.
pub struct GuardRemoval {
    /// The right to write.
    pub leadership: Leadership,
    /// The API server.
    pub client: Client,
    /// The only namespace to look at. `None`: all.
    pub namespace: Option<String>,
    /// The name of the guards.
    pub name: String,
}

impl GuardRemoval {
    /// Runs until `shutdown`. Nothing waits for it.
    pub async fn run(self, shutdown: CancellationToken) {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = self.remove_when_leading() => shutdown.cancelled().await,
        }
    }

    async fn remove_when_leading(&self) {
        self.leadership.terms().begun().await;
        self.remove().await;
    }

    /// Removes all of them. Without guards in this cluster, or without the right to remove them, there is nothing to do.
    async fn remove(&self) {
        for failures in 1.. {
            match self.remove_once().await {
                Ok(0) => return,
                Ok(removed) => {
                    let name = &*self.name;
                    info!(name, removed, "the guard is off: the guards of an earlier run were removed");
                    return;
                }
                Err(error @ (GuardError::NoPlace(_) | GuardError::Refused { .. })) => {
                    debug!(%error, "guards of an earlier run are left, if there are any");
                    return;
                }
                Err(error @ (GuardError::Changed(_) | GuardError::Unreachable(_))) => {
                    debug!(%error, "guards of an earlier run cannot be removed yet");
                    tokio::time::sleep(BACKOFF.delay(failures, fastrand::f64())).await;
                }
            }
        }
    }

    /// Returns how many guards were removed.
    async fn remove_once(&self) -> Result<usize, GuardError> {
        if !guard::are_installed(&self.client).await? {
            debug!("no guards are installed in this cluster");
            return Ok(0);
        }
        let guards = guard::list(&self.client, self.namespace.as_deref(), &self.name).await?;
        for (namespace, identity) in &guards {
            let send = async |_| guard::delete(&self.client, namespace, &self.name, identity).await;
            let unanswered = |_| GuardError::Unreachable("no answer in time".to_owned());
            self.leadership.write(guard::DEADLINE, send).await.map_err(unanswered)??;
        }
        Ok(guards.len())
    }
}
