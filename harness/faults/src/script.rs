//! A fixed sequence of actions, each of which waits for the effect of the previous one. So requests and file operations
//! always come in the same order, and a crash can be placed at each of them.

use std::time::Duration;

use anyhow::{Result, bail};
use tokio::sync::watch;
use tokio::time::{self, Instant};

use crate::cluster_changes::ClusterChanges;
use crate::history::{Outcome, Request};
use crate::load::Clients;
use crate::schedule::CONVERGENCE_DEADLINE;
use crate::server::Access;
use crate::workload::Workload;

/// The number of changes of the setting. Each is one write of the settings file.
pub(crate) const CHANGES: u32 = 4;

/// The number of writes to the API server: three counts, and one repair.
pub(crate) const PATCHES: u64 = 4;

const POLL: Duration = Duration::from_millis(10);
const DRIFTED: i32 = 2_000;

/// Sets a count, causes drift, sets another count, deletes the setting, and sets a third count.
pub(crate) async fn run(
    workload: &Workload,
    clients: &Clients<'_>,
    changes: &ClusterChanges<'_>,
    server: watch::Receiver<Access>,
) -> Result<()> {
    let script = Script { workload, clients, changes, server };
    script.retry_until_done(Request::Set { count: 2 }).await?;
    script.wait_for_count(2).await?;
    changes.scale(workload, DRIFTED).await?;
    script.wait_for_count(2).await?;
    script.retry_until_done(Request::Set { count: 3 }).await?;
    script.wait_for_count(3).await?;
    script.retry_until_done(Request::Delete).await?;
    script.retry_until_done(Request::Set { count: 4 }).await?;
    script.wait_for_count(4).await
}

struct Script<'a> {
    workload: &'a Workload,
    clients: &'a Clients<'a>,
    changes: &'a ClusterChanges<'a>,
    server: watch::Receiver<Access>,
}

impl Script<'_> {
    /// Repeats a request until it succeeds.
    async fn retry_until_done(&self, request: Request) -> Result<()> {
        let deadline = Instant::now() + CONVERGENCE_DEADLINE;
        while Instant::now() < deadline {
            let client = self.server.borrow().client.clone();
            match self.clients.call(client, self.workload, request, true).await {
                Some(Outcome::Set { .. } | Outcome::Deleted | Outcome::NotManaged) => return Ok(()),
                Some(Outcome::Unknown | Outcome::Got { .. }) | None => time::sleep(POLL).await,
            }
        }
        bail!("{request:?} was not answered within {CONVERGENCE_DEADLINE:?}")
    }

    async fn wait_for_count(&self, count: i32) -> Result<()> {
        let deadline = Instant::now() + CONVERGENCE_DEADLINE;
        while Instant::now() < deadline {
            if self.changes.count(self.workload).await? == Some(count) {
                return Ok(());
            }
            time::sleep(POLL).await;
        }
        bail!("{} did not get {count} replicas within {CONVERGENCE_DEADLINE:?}", self.workload)
    }
}
