//! The server of a round, which can be killed and restarted.

use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::sync::Arc;

use anyhow::Result;
use replica_count_testbed::Manager;
use replica_count_testbed::manager::{Client, Options};
use rustix::process::Signal;
use tokio::sync::watch;

use crate::certificate_files::CertificateFiles;
use crate::schedule::FileOperation;
use crate::strace::{self, Injection};
use crate::trace::{Note, ServerEvent, Trace};

/// How to reach the running server.
#[derive(Clone)]
pub(crate) struct Access {
    pub(crate) client: Client,
    pub(crate) address: SocketAddr,
    /// Where probes and metrics are served.
    pub(crate) http: SocketAddr,
    pub(crate) pid: u32,
}

impl Access {
    async fn of(manager: &Manager) -> Result<Self> {
        let client = manager.client().await?;
        let (address, http) = (manager.grpc_address(), manager.http_address());
        Ok(Self { client, address, http, pid: manager.pid() })
    }
}

/// A server that is restarted whenever it dies.
pub(crate) struct Server {
    options: Options,
    certificate_files: Arc<CertificateFiles>,
    trace: Arc<Trace>,
    /// `None` only during a restart.
    manager: Option<Manager>,
    access: watch::Sender<Access>,
}

impl Server {
    pub(crate) async fn start(
        options: Options,
        certificate_files: Arc<CertificateFiles>,
        trace: Arc<Trace>,
    ) -> Result<Self> {
        trace.note(Note::Server(ServerEvent::Start));
        let options = certificate_files.used_by(options);
        let manager = Manager::start(&options).await?;
        let access = watch::Sender::new(Access::of(&manager).await?);
        Ok(Self { options, certificate_files, trace, manager: Some(manager), access })
    }

    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    pub(crate) fn pid(&mut self) -> u32 {
        self.running().pid()
    }

    /// How to reach the running server. Changes with each restart.
    pub(crate) fn access(&self) -> watch::Receiver<Access> {
        self.access.subscribe()
    }

    /// Its exit status and the end of its log, if it has died.
    pub(crate) fn death(&mut self) -> Result<Option<(ExitStatus, String)>> {
        let Some(status) = self.running().exit_status()? else { return Ok(None) };
        let end = self.running().check_alive().err().map(|error| format!("{error:#}"));
        Ok(Some((status, end.unwrap_or_default())))
    }

    /// Kills it and restarts it.
    pub(crate) async fn crash(&mut self, why: &str) -> Result<()> {
        self.trace.note(Note::Server(ServerEvent::Kill(why.to_owned())));
        if let Some(manager) = self.manager.take() {
            manager.kill()?;
        }
        self.trace.note(Note::Server(ServerEvent::Start));
        // The server would refuse to start with a truncated certificate.
        self.certificate_files.repair()?;
        let manager = self.manager.insert(Manager::start(&self.options).await?);
        self.access.send_replace(Access::of(manager).await?);
        Ok(())
    }

    /// Kills it, and kills the next start before a file operation.
    pub(crate) async fn crash_at_start(&mut self, operation: &FileOperation) -> Result<()> {
        self.trace.note(Note::Server(ServerEvent::Kill(format!("at {operation:?} of the start"))));
        if let Some(manager) = self.manager.take() {
            manager.kill()?;
        }
        let launcher = strace::launcher(&self.options, operation, Injection::Kill);
        let (status, _) = Manager::start_expecting_failure(&self.options.clone().through(launcher)).await?;
        if status.signal() == Some(Signal::KILL.as_raw()) {
            self.trace.note(Note::ServerFaultInjected);
        }
        Ok(())
    }

    pub(crate) async fn wait_ready(&mut self) -> Result<()> {
        self.running().wait_ready().await
    }

    fn running(&mut self) -> &mut Manager {
        self.manager.as_mut().expect("a failed start ends the round")
    }
}
