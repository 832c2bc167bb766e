//! A few things in a fixed order, each when the one before has taken effect. So requests and file operations come in the
//! same order each time, and a crash can be placed at each of them.

use std::time::Duration;

use anyhow::{Result, bail};
use tokio::sync::watch;
use tokio::time::{self, Instant};

use crate::cluster_changes::ClusterChanges;
use crate::history::{Asked, Told};
use crate::load::Clients;
use crate::schedule::CONVERGENCE;
use crate::server::Access;

/// How many changes of the setting there are; each is one write of the settings file.
pub(crate) const CHANGES: u32 = 4;

/// How many writes to the API server follow from it: of three counts, and one for the drift.
pub(crate) const PATCHES: u64 = 4;

const POLL: Duration = Duration::from_millis(10);
const DRIFTED: i32 = 2_000;

/// Sets, lets drift, sets again, deletes, and sets once more.
pub(crate) async fn run(
    name: &str,
    clients: &Clients<'_>,
    changes: &ClusterChanges<'_>,
    server: watch::Receiver<Access>,
) -> Result<()> {
    let script = Script { name, clients, changes, server };
    script.insist(Asked::Set { count: 2 }).await?;
    script.until_count(2).await?;
    changes.scale(name, DRIFTED).await?;
    script.until_count(2).await?;
    script.insist(Asked::Set { count: 3 }).await?;
    script.until_count(3).await?;
    script.insist(Asked::Delete).await?;
    script.insist(Asked::Set { count: 4 }).await?;
    script.until_count(4).await
}

struct Script<'a> {
    name: &'a str,
    clients: &'a Clients<'a>,
    changes: &'a ClusterChanges<'a>,
    server: watch::Receiver<Access>,
}

impl Script<'_> {
    /// Asks until it is done, as a person would.
    async fn insist(&self, asked: Asked) -> Result<()> {
        let deadline = Instant::now() + CONVERGENCE;
        while Instant::now() < deadline {
            let client = self.server.borrow().client.clone();
            match self.clients.ask(client, self.name, asked, true).await {
                Some(Told::Set { .. } | Told::Deleted | Told::NotManaged) => return Ok(()),
                Some(Told::Unknown | Told::Got { .. }) | None => time::sleep(POLL).await,
            }
        }
        bail!("{asked:?} was not answered within {CONVERGENCE:?}")
    }

    async fn until_count(&self, count: i32) -> Result<()> {
        let deadline = Instant::now() + CONVERGENCE;
        while Instant::now() < deadline {
            if self.changes.count(self.name).await? == Some(count) {
                return Ok(());
            }
            time::sleep(POLL).await;
        }
        bail!("{} did not get {count} replicas within {CONVERGENCE:?}", self.name)
    }
}
