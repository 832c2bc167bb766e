//! The tasks of a server. Each has a name, none may end before shutdown, and none may fail unnoticed.

use std::borrow::Cow;
use std::collections::HashMap;
use std::future::{Future, pending};

use anyhow::anyhow;
use tokio::runtime::Handle;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tracing::error;

/// Tasks that run as long as the server.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    running: JoinSet<anyhow::Result<()>>,
    names: HashMap<Id, Cow<'static, str>>,
    /// The first failure since the tasks were told to end.
    failure: Option<anyhow::Error>,
}

impl Tasks {
    pub(super) fn spawn(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        self.spawn_on(&Handle::current(), name, task);
    }

    /// The same on the threads of another runtime.
    pub(super) fn spawn_on(
        &mut self,
        runtime: &Handle,
        name: impl Into<Cow<'static, str>>,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let task = async move {
            task.await;
            Ok(())
        };
        let spawned = self.running.spawn_on(task, runtime);
        self.add(&spawned, name);
    }

    pub(super) fn spawn_fallible(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        task: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) {
        let spawned = self.running.spawn(task);
        self.add(&spawned, name);
    }

    pub(super) fn spawn_blocking(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        task: impl FnOnce() + Send + 'static,
    ) {
        let spawned = self.running.spawn_blocking(move || {
            task();
            Ok(())
        });
        self.add(&spawned, name);
    }

    fn add(&mut self, task: &AbortHandle, name: impl Into<Cow<'static, str>>) {
        self.names.insert(task.id(), name.into());
    }

    /// Waits for the first task to end, and returns which one ended and why; for ever, if there are none.
    pub(super) async fn first_to_end(&mut self) -> anyhow::Error {
        match self.running.join_next_with_id().await {
            Some(Ok((id, Ok(())))) => anyhow!("{} ended", self.name(id)),
            Some(Ok((id, Err(error)))) => error.context(format!("{} failed", self.name(id))),
            Some(Err(error)) => self.broken(error),
            None => pending().await,
        }
    }

    /// Waits for all tasks to end, after they were told to. Failures are logged, and the first is kept, also if the
    /// caller stops waiting.
    pub(super) async fn join_all(&mut self) {
        while let Some(ended) = self.running.join_next_with_id().await {
            let error = match ended {
                Ok((_, Ok(()))) => continue,
                Ok((id, Err(error))) => error.context(format!("{} failed", self.name(id))),
                Err(error) if error.is_cancelled() => continue,
                Err(error) => self.broken(error),
            };
            error!(error = format!("{error:#}"), "a part of the server failed while it ended");
            self.failure.get_or_insert(error);
        }
    }

    /// Returns the first failure that [`join_all`](Self::join_all) has seen.
    pub(super) fn outcome(&mut self) -> anyhow::Result<()> {
        self.failure.take().map_or(Ok(()), Err)
    }

    /// Aborts all tasks.
    pub(super) fn abort_all(&mut self) {
        self.running.abort_all();
    }

    fn name(&self, id: Id) -> &str {
        self.names.get(&id).map_or("a part of the server", |name| name)
    }

    /// The error for a task that panicked or was aborted.
    fn broken(&self, error: JoinError) -> anyhow::Error {
        let name = self.name(error.id()).to_owned();
        anyhow!(error).context(format!("{name} failed"))
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn the_first_to_end_is_named() {
        let check = async |spawn: fn(&mut Tasks), expected: &str| {
            let mut tasks = Tasks::default();
            tasks.spawn("another one", pending());
            spawn(&mut tasks);
            let error = format!("{:#}", tasks.first_to_end().await);
            assert!(error.starts_with(expected), "{error}");
        };
        check(|tasks| tasks.spawn("the watch", async {}), "the watch ended").await;
        check(
            |tasks| tasks.spawn_fallible("the port", async { Err(anyhow!("taken")) }),
            "the port failed: taken",
        )
        .await;
        check(|tasks| tasks.spawn_blocking("the writer", || panic!("on purpose")), "the writer failed: ")
            .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_while_ending_is_kept() {
        let mut tasks = Tasks::default();
        tasks.spawn("the watch", async {});
        tasks.spawn_fallible("the port", async { Err(anyhow!("broken")) });
        tasks.spawn("a slow one", tokio::time::sleep(Duration::from_secs(10)));
        let joined = tokio::time::timeout(Duration::from_secs(1), tasks.join_all()).await;
        joined.expect_err("it waits for the slow one");
        tasks.spawn_blocking("the writer", || panic!("on purpose"));
        tasks.join_all().await;
        assert_eq!(format!("{:#}", tasks.outcome().unwrap_err()), "the port failed: broken");
        tasks.outcome().expect("reported once");
    }

    #[tokio::test]
    async fn an_aborted_task_has_not_failed() {
        let mut tasks = Tasks::default();
        tasks.spawn("a hanging one", pending());
        tasks.abort_all();
        tasks.join_all().await;
        tasks.outcome().unwrap();
    }
}
