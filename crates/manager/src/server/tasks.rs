//! The tasks that a server consists of. Each has a name, and none may end before it is told to.

use std::future::Future;

use anyhow::anyhow;
use tokio::task::JoinSet;

/// Tasks that run as long as the server does.
#[derive(Debug, Default)]
pub(super) struct Tasks(JoinSet<&'static str>);

impl Tasks {
    pub(super) fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.0.spawn(async move {
            task.await;
            name
        });
    }

    /// Waits for the first task to end, which none may: a server without one of its parts must not go on.
    pub(super) async fn first_to_end(&mut self) -> anyhow::Result<()> {
        match self.0.join_next().await {
            Some(Ok(name)) => Err(anyhow!("the {name} ended")),
            Some(Err(error)) => Err(anyhow!(error).context("a part of the server failed")),
            None => Err(anyhow!("there is nothing to do")),
        }
    }

    /// Waits for all to end, after they were told to.
    pub(super) async fn join_all(mut self) {
        while self.0.join_next().await.is_some() {}
    }
}
