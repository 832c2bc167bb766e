//! The tasks of a server. Each has a name, and none may end before shutdown.

use std::borrow::Cow;
use std::future::Future;

use anyhow::anyhow;
use tokio::runtime::Handle;
use tokio::task::JoinSet;

/// Tasks that run as long as the server.
#[derive(Debug, Default)]
pub(super) struct Tasks(JoinSet<(Cow<'static, str>, anyhow::Result<()>)>);

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
        let name = name.into();
        let task = async move {
            task.await;
            (name, Ok(()))
        };
        self.0.spawn_on(task, runtime);
    }

    pub(super) fn spawn_fallible(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        task: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) {
        let name = name.into();
        self.0.spawn(async move { (name, task.await) });
    }

    pub(super) fn spawn_blocking(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        task: impl FnOnce() + Send + 'static,
    ) {
        let name = name.into();
        self.0.spawn_blocking(move || {
            task();
            (name, Ok(()))
        });
    }

    /// Waits for the first task to end, and returns which one ended and why.
    pub(super) async fn first_to_end(&mut self) -> anyhow::Error {
        match self.0.join_next().await {
            Some(Ok((name, Ok(())))) => anyhow!("{name} ended"),
            Some(Ok((name, Err(error)))) => error.context(format!("{name} failed")),
            Some(Err(error)) => anyhow!(error).context("a part of the server failed"),
            None => anyhow!("there are no tasks"),
        }
    }

    /// Waits for all tasks to end, after they were told to.
    pub(super) async fn join_all(&mut self) {
        while self.0.join_next().await.is_some() {}
    }

    /// Aborts all tasks.
    pub(super) fn abort_all(&mut self) {
        self.0.abort_all();
    }
}
