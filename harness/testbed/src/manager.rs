//! The server as a child process, for tests and demos.

mod certificates;
mod client;
mod listening;
mod mount;
mod options;
mod tls_client;

use std::net::SocketAddr;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Result, bail};
pub use certificates::Certificates;
pub use client::{Client, SERVER_NAME, connect};
use listening::Listening;
pub use mount::{Mount, Secret};
pub use options::Options;
use rustix::process::Signal;
pub use tls_client::{HANDSHAKE, TlsClient, alert, connect_without_handshake};
use tokio::time::{self, Instant};

use crate::component::Component;
use crate::http;

/// How long it may take until it serves. It may have to wait for the API server.
const START_DEADLINE: Duration = Duration::from_secs(30);

/// Longer than the server's own drain deadline.
const EXIT_DEADLINE: Duration = Duration::from_mins(1);

const POLL: Duration = Duration::from_millis(10);

const NAME: &str = "replica-count-manager";

/// A running server. It is killed on drop.
#[derive(Debug)]
pub struct Manager {
    component: Component,
    listening: Listening,
    certificates: Certificates,
}

impl Manager {
    /// Starts the server and waits until it listens, which happens before it is ready.
    ///
    /// Creates certificates if there are none. The same options can start the server again after it has ended; it then
    /// finds the store and the certificates of the previous run.
    pub async fn start(options: &Options) -> Result<Self> {
        let certificates = options.certificates()?;
        let mut component = spawn(options)?;
        let listening = match options.fixed_addresses() {
            Some(addresses) => addresses,
            None => wait_until_listening(&mut component).await?,
        };
        Ok(Self { component, listening, certificates })
    }

    /// Starts a server that is expected to refuse its options, and returns its exit status and its log.
    pub async fn start_expecting_failure(options: &Options) -> Result<(ExitStatus, Vec<String>)> {
        options.certificates()?;
        let mut component = spawn(options)?;
        let status = component.wait(START_DEADLINE).await?;
        Ok((status, component.log()))
    }

    /// Waits until `/readyz` answers 200.
    pub async fn wait_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + START_DEADLINE;
        loop {
            self.component.check_alive()?;
            let last = match self.get("/readyz").await {
                Ok((200, _)) => return Ok(()),
                Ok((status, body)) => format!("{status} {body}"),
                Err(error) => format!("{error:#}"),
            };
            if Instant::now() >= deadline {
                bail!("{NAME} was not ready within {START_DEADLINE:?} ({last}):\n{}", self.component.tail());
            }
            time::sleep(POLL).await;
        }
    }

    /// What `/readyz` says.
    pub async fn readyz(&self) -> Result<String> {
        Ok(self.get("/readyz").await?.1)
    }

    /// Fails with the end of its log if the server has ended.
    pub fn check_alive(&mut self) -> Result<()> {
        self.component.check_alive()
    }

    /// How it ended; `None` while it runs.
    pub fn exit_status(&mut self) -> Result<Option<ExitStatus>> {
        self.component.exit_status()
    }

    /// Kills it with SIGKILL, like a crash, and waits until it is gone.
    pub fn kill(mut self) -> Result<()> {
        self.component.kill()
    }

    /// Freezes it with SIGSTOP.
    pub fn pause(&self) -> Result<()> {
        self.component.signal(Signal::STOP)
    }

    /// Lets a frozen one go on.
    pub fn resume(&self) -> Result<()> {
        self.component.signal(Signal::CONT)
    }

    /// Sends SIGTERM. [`Self::wait`] waits until it has drained.
    pub fn begin_termination(&self) -> Result<()> {
        self.component.signal(Signal::TERM)
    }

    /// Sends SIGTERM and waits until it has drained.
    pub async fn terminate(self) -> Result<ExitStatus> {
        self.component.signal(Signal::TERM)?;
        self.wait().await
    }

    /// Waits until it has ended, after it was told to.
    pub async fn wait(mut self) -> Result<ExitStatus> {
        self.component.wait(EXIT_DEADLINE).await
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.component.id()
    }

    /// The lines logged so far, in JSON; none if it logs to the terminal.
    pub fn log(&self) -> Vec<String> {
        self.component.log()
    }

    /// Where gRPC is served.
    pub fn grpc_address(&self) -> SocketAddr {
        self.listening.grpc
    }

    /// Where probes and metrics are served.
    pub fn http_address(&self) -> SocketAddr {
        self.listening.http
    }

    /// The status and the body of a GET on the HTTP port, for example of `/healthz`.
    pub async fn get(&self, path: &str) -> Result<(u16, String)> {
        http::get(self.listening.http, path).await
    }

    /// The text of `/metrics`.
    pub async fn metrics(&self) -> Result<String> {
        match self.get("/metrics").await? {
            (200, text) => Ok(text),
            (status, text) => bail!("/metrics answered {status}: {text}"),
        }
    }

    /// The certificates of the server and its clients.
    pub fn certificates(&self) -> &Certificates {
        &self.certificates
    }

    /// A gRPC client with the default certificate of the `certs` command.
    pub async fn client(&self) -> Result<Client> {
        self.client_as("client").await
    }

    /// A gRPC client with the certificate of `name`; see [`Certificates::issue`].
    pub async fn client_as(&self, name: &str) -> Result<Client> {
        connect(self.listening.grpc, &self.certificates, name).await
    }
}

fn spawn(options: &Options) -> Result<Component> {
    let command = options.command()?;
    match options.log_path() {
        Some(log) => Component::start(NAME, command, log),
        None => Component::start_on_terminal(NAME, command),
    }
}

async fn wait_until_listening(component: &mut Component) -> Result<Listening> {
    let deadline = Instant::now() + START_DEADLINE;
    loop {
        if let Some(listening) = listening::find(&component.log()) {
            return Ok(listening);
        }
        component.check_alive()?;
        if Instant::now() >= deadline {
            bail!("{NAME} did not listen within {START_DEADLINE:?}:\n{}", component.tail());
        }
        time::sleep(POLL).await;
    }
}
