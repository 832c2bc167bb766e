//! Rotates the authority of clients: first both are trusted, then only one. Here the second authority comes and goes,
//! so the clients of the round keep theirs.

use std::fs;
use std::io::{self, ErrorKind};
use std::time::Duration;

use anyhow::{Result, bail};
use replica_count_testbed::frames::{self, PING};
use replica_count_testbed::manager::{self, Certificates, TlsClient};
use rustls::AlertDescription;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time;
use tokio_rustls::client::TlsStream;

use super::RoundContext;
use crate::retry::{Verdict, retry};
use crate::server::Access;

/// How soon a change must take effect. The files are polled every second, and servers may be killed meanwhile.
const DEADLINE: Duration = Duration::from_secs(20);
/// A bit longer than two polls.
const TWO_POLLS: Duration = Duration::from_millis(2_500);

pub(super) async fn change(context: &RoundContext<'_>, server: &watch::Receiver<Access>) -> Result<Verdict> {
    let ours = context.options.certificates()?;
    let other = ours.folder().with_file_name("certificates-other");
    let theirs = context.options.clone().with_certificates(other).certificates()?;
    let authority = fs::read_to_string(ours.authority())?;
    let both = authority.clone() + &fs::read_to_string(theirs.authority())?;
    let mut client = OtherClient { server, ours: &ours, theirs: &theirs, connected: None };

    context.certificate_files.trust(both)?;
    let verdict =
        retry("a new authority is trusted", DEADLINE, async || client.connect_and_check().await).await;
    context.certificate_files.truncate()?;
    time::sleep(TWO_POLLS).await;
    let kept = retry("a truncated certificate changes nothing", DEADLINE, async || {
        client.check_connection().await?;
        client.connect_and_check().await
    })
    .await;
    context.certificate_files.trust(authority)?;
    let ended = retry("the old authority is no longer trusted", DEADLINE, async || {
        client.wait_until_closed().await?;
        client.check_refused().await
    })
    .await;
    Ok(verdict.and(kept).and(ended))
}

/// A client of the other authority, with a long-lived connection.
struct OtherClient<'a> {
    server: &'a watch::Receiver<Access>,
    ours: &'a Certificates,
    theirs: &'a Certificates,
    /// The process id of its server, and the connection.
    connected: Option<(u32, TlsStream<TcpStream>)>,
}

impl OtherClient<'_> {
    async fn connect(&self) -> io::Result<TlsStream<TcpStream>> {
        let address = self.server.borrow().address;
        TlsClient::GOOD.connect(address, self.ours, self.theirs).await
    }

    /// Opens a new connection, checks that it is served, and keeps it.
    async fn connect_and_check(&mut self) -> Result<()> {
        let pid = self.server.borrow().pid;
        let mut stream = self.connect().await?;
        stream.write_all(&frames::preface(&[])).await?;
        self.connected = Some((pid, stream));
        self.check_connection().await
    }

    /// Checks that the connection is still served, unless its server has ended.
    async fn check_connection(&mut self) -> Result<()> {
        match &mut self.connected {
            Some((pid, stream)) if *pid == self.server.borrow().pid => {
                stream.write_all(&frames::ping()).await?;
                while frames::receive(stream).await?.kind != PING {}
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Waits until the connection is closed.
    async fn wait_until_closed(&mut self) -> Result<()> {
        if let Some((_, stream)) = &mut self.connected {
            loop {
                match frames::receive(stream).await {
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::TimedOut => bail!("it is still open"),
                    Err(_) => break,
                }
            }
        }
        self.connected = None;
        Ok(())
    }

    /// Checks that a new connection is refused because of its authority.
    async fn check_refused(&self) -> Result<()> {
        match manager::alert(self.connect().await).await {
            Some(AlertDescription::UnknownCA) => Ok(()),
            other => bail!("it ends with the alert {other:?}"),
        }
    }
}
