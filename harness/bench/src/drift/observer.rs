//! The independent watcher: a connection and a thread of its own, which does nothing but take the time.

use std::collections::HashMap;
use std::ops::Range;
use std::pin::pin;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use futures_util::{Stream, TryStreamExt as _};
use replica_count_testbed::ControlPlane;
use tokio::sync::{mpsc, oneshot};
use tokio::{runtime, time};

use super::watch::{self, Seen, Watched};
use crate::fleet::Fleet;
use crate::kubeconfig;

/// How long something may take that is expected: longer than any back-off, and than the start beside 100,000 Deployments.
const DEADLINE: Duration = Duration::from_mins(2);

/// More changes than a busy machine leaves lying for a moment.
const CAPACITY: usize = 1024;

/// Takes note of every change of a count.
#[derive(Debug)]
pub(crate) struct Observer {
    /// The thread ends when this is dropped.
    changes: mpsc::Receiver<Seen>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Observer {
    /// Watches from now on; returns once it has seen `deployments` of them. Changes in one namespace can be ignored.
    pub(crate) async fn start(
        control_plane: &ControlPlane,
        deployments: usize,
        ignored: Option<&'static str>,
    ) -> Result<Self> {
        Self::watch(control_plane, Watched::All, deployments, ignored).await
    }

    /// Watches only this Deployment of a fleet from now on.
    pub(crate) async fn of_one(control_plane: &ControlPlane, fleet: &Fleet, number: usize) -> Result<Self> {
        let one = Watched::One { namespace: fleet.namespace, name: fleet.name(number) };
        Self::watch(control_plane, one, 1, None).await
    }

    async fn watch(
        control_plane: &ControlPlane,
        watched: Watched,
        deployments: usize,
        ignored: Option<&'static str>,
    ) -> Result<Self> {
        let kubeconfig = control_plane.kubeconfig_as("observer")?;
        let (sender, changes) = mpsc::channel(CAPACITY);
        let (complete, completed) = oneshot::channel();
        let thread = thread::Builder::new().name("observer".to_owned()).spawn(move || {
            // Its connection is driven by this thread too, so the arrival of an event waits for nobody else.
            runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
                let client = kubeconfig::client(&kubeconfig).await?;
                let events = watch::open(&client, &watched).await?;
                tokio::select! {
                    () = sender.closed() => Ok(()),
                    result = follow(events, deployments, ignored, complete, &sender) => result,
                }
            })
        });
        let mut this = Self { changes, thread: Some(thread.context("cannot start a thread")?) };
        match time::timeout(DEADLINE, completed).await {
            Ok(Ok(())) => Ok(this),
            Ok(Err(_)) => Err(this.ended()),
            Err(_) => bail!("the observer did not see {deployments} Deployments within {DEADLINE:?}"),
        }
    }

    /// Awaits this count of a Deployment as the very next change of the cluster; returns when it was seen.
    pub(crate) async fn expect(&mut self, fleet: &Fleet, name: &str, replicas: i32) -> Result<Instant> {
        let expected = || format!("{replicas} replicas of {}/{name}", fleet.namespace);
        match time::timeout(DEADLINE, self.changes.recv()).await {
            Ok(Some(seen))
                if (seen.namespace.as_str(), seen.name.as_str(), seen.replicas)
                    == (fleet.namespace, name, replicas) =>
            {
                Ok(seen.at)
            }
            Ok(Some(seen)) => bail!("expected {}, saw {seen:?}", expected()),
            Ok(None) => Err(self.ended()),
            Err(_) => bail!("expected {}, saw nothing for {DEADLINE:?}", expected()),
        }
    }

    /// Awaits so many changes of the cluster, all of them to this count; returns when the first and the last were seen.
    pub(crate) async fn expect_all(&mut self, changes: usize, replicas: i32) -> Result<Range<Instant>> {
        let mut first = None;
        for number in 1..=changes {
            match time::timeout(DEADLINE, self.changes.recv()).await {
                Ok(Some(seen)) if seen.replicas == replicas => {
                    let first = *first.get_or_insert(seen.at);
                    if number == changes {
                        return Ok(first..seen.at);
                    }
                }
                Ok(Some(seen)) => bail!("expected {replicas} replicas, saw {seen:?}"),
                Ok(None) => return Err(self.ended()),
                Err(_) => {
                    bail!("expected {changes} changes, saw {} and nothing for {DEADLINE:?}", number - 1)
                }
            }
        }
        bail!("no changes are expected")
    }

    /// Why the thread has ended.
    fn ended(&mut self) -> anyhow::Error {
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(Err(error))) => error.context("the observer ended"),
            Some(Ok(Ok(())) | Err(_)) | None => anyhow!("the observer ended without a reason"),
        }
    }
}

async fn follow(
    events: impl Stream<Item = Result<Seen>>,
    deployments: usize,
    ignored: Option<&str>,
    complete: oneshot::Sender<()>,
    changes: &mpsc::Sender<Seen>,
) -> Result<()> {
    let mut complete = Some(complete);
    let mut counts = HashMap::new();
    let mut events = pin!(events);
    while let Some(seen) = events.try_next().await? {
        let key = (seen.namespace.clone(), seen.name.clone());
        let is_change = counts.insert(key, seen.replicas).is_some_and(|before| before != seen.replicas);
        if is_change && ignored != Some(seen.namespace.as_str()) {
            changes.send(seen).await.context("nobody listens any more")?;
        }
        if counts.len() == deployments
            && let Some(complete) = complete.take()
        {
            // Fails only if the start has been given up.
            let _ = complete.send(());
        }
    }
    bail!("the watch ended")
}
