//! The authority of clients changes in the usual way: first both are trusted, and in the end the new one alone. Here it is
//! a second one that comes and goes, so that the clients of the round stay what they are.

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

use super::Place;
use crate::patience::{Verdict, until};
use crate::server::Access;

/// How soon a change must show. The files are looked at every second, and servers die meanwhile.
const SOON: Duration = Duration::from_secs(20);
/// As long as it takes to look twice, and a moment.
const TWO_LOOKS: Duration = Duration::from_millis(2_500);

pub(super) async fn change(place: &Place<'_>, server: &watch::Receiver<Access>) -> Result<Verdict> {
    let ours = place.options.certificates()?;
    let abroad = ours.folder().with_file_name("certificates-abroad");
    let theirs = place.options.clone().with_certificates(abroad).certificates()?;
    let authority = fs::read_to_string(ours.authority())?;
    let both = authority.clone() + &fs::read_to_string(theirs.authority())?;
    let mut stranger = Stranger { server, ours: &ours, theirs: &theirs, connected: None };

    place.certificate_files.trust(both)?;
    let verdict = until("a new authority is trusted", SOON, async || stranger.come_and_stay().await).await;
    place.certificate_files.cut()?;
    time::sleep(TWO_LOOKS).await;
    let kept = until("half a certificate changes nothing", SOON, async || {
        stranger.stay().await?;
        stranger.come_and_stay().await
    })
    .await;
    place.certificate_files.trust(authority)?;
    let ended = until("an old authority is trusted no more", SOON, async || {
        stranger.leave().await?;
        stranger.be_refused().await
    })
    .await;
    Ok(verdict.and(kept).and(ended))
}

/// Somebody of the other authority, who keeps his connection.
struct Stranger<'a> {
    server: &'a watch::Receiver<Access>,
    ours: &'a Certificates,
    theirs: &'a Certificates,
    /// To which process, and how.
    connected: Option<(u32, TlsStream<TcpStream>)>,
}

impl Stranger<'_> {
    async fn connect(&self) -> io::Result<TlsStream<TcpStream>> {
        let address = self.server.borrow().address;
        TlsClient::GOOD.connect(address, self.ours, self.theirs).await
    }

    /// A new connection is served, and kept.
    async fn come_and_stay(&mut self) -> Result<()> {
        let pid = self.server.borrow().pid;
        let mut stream = self.connect().await?;
        stream.write_all(&frames::preface(&[])).await?;
        self.connected = Some((pid, stream));
        self.stay().await
    }

    /// The connection that is kept is served, unless its server has ended.
    async fn stay(&mut self) -> Result<()> {
        match &mut self.connected {
            Some((pid, stream)) if *pid == self.server.borrow().pid => {
                stream.write_all(&frames::ping()).await?;
                while frames::receive(stream).await?.kind != PING {}
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The connection that is kept ends.
    async fn leave(&mut self) -> Result<()> {
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

    /// A new connection is refused for the reason that it must be.
    async fn be_refused(&self) -> Result<()> {
        match manager::alert(self.connect().await).await {
            Some(AlertDescription::UnknownCA) => Ok(()),
            other => bail!("it ends with the alert {other:?}"),
        }
    }
}
