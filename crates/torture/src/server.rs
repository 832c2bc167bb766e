//! The server of a round: started, killed, started again, and watched over meanwhile.

use std::sync::Arc;

use anyhow::Result;
use replica_count_testbed::Manager;
use replica_count_testbed::manager::{Client, Options};
use tokio::sync::watch;

use crate::schedule::FileOperation;
use crate::strace::{self, Injection};
use crate::trace::{Note, Trace};

/// A server that is started again whenever it dies.
pub(crate) struct Server {
    options: Options,
    trace: Arc<Trace>,
    /// `None` only while it is started again.
    manager: Option<Manager>,
    client: watch::Sender<Client>,
}

impl Server {
    pub(crate) async fn start(options: Options, trace: Arc<Trace>) -> Result<Self> {
        trace.note(Note::Server("start".to_owned()));
        let manager = Manager::start(&options).await?;
        let client = watch::Sender::new(manager.client().await?);
        Ok(Self { options, trace, manager: Some(manager), client })
    }

    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    pub(crate) fn pid(&mut self) -> u32 {
        self.running().pid()
    }

    /// A client of the server as it runs now; it changes with each start.
    pub(crate) fn client(&self) -> watch::Receiver<Client> {
        self.client.subscribe()
    }

    /// The end of its log if it has died.
    pub(crate) fn death(&mut self) -> Option<String> {
        self.running().check_alive().err().map(|error| format!("{error:#}"))
    }

    /// Kills it and starts it again.
    pub(crate) async fn crash(&mut self, why: &str) -> Result<()> {
        self.trace.note(Note::Server(format!("kill: {why}")));
        if let Some(manager) = self.manager.take() {
            manager.kill()?;
        }
        self.trace.note(Note::Server("start".to_owned()));
        let manager = self.manager.insert(Manager::start(&self.options).await?);
        self.client.send_replace(manager.client().await?);
        Ok(())
    }

    /// Kills it, and the next one before an operation of its start.
    pub(crate) async fn crash_at_start(&mut self, operation: &FileOperation) -> Result<()> {
        self.trace.note(Note::Server(format!("kill: at {operation:?} of the start")));
        if let Some(manager) = self.manager.take() {
            manager.kill()?;
        }
        let launcher = strace::launcher(&self.options, operation, Injection::Kill);
        Manager::start_in_vain(&self.options.clone().through(launcher)).await?;
        Ok(())
    }

    pub(crate) async fn wait_ready(&mut self) -> Result<()> {
        self.running().wait_ready().await
    }

    fn running(&mut self) -> &mut Manager {
        self.manager.as_mut().expect("a failed start ends the round")
    }
}
