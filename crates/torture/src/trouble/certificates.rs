//! The authority of clients changes in the usual way: first both are trusted, and in the end the new one alone. Here it is
//! a second one that comes and goes, so that the clients of the round stay what they are.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, anyhow};
use replica_count_api::proto::ListDeploymentsRequest;
use replica_count_testbed::manager::{self, Certificates, Client};
use tokio::sync::watch;
use tokio::time;

use super::Place;
use crate::patience::{Verdict, until};
use crate::server::Reach;

/// How soon a change must show. The files are looked at every second, and servers die meanwhile.
const SOON: Duration = Duration::from_secs(20);
/// As long as it takes to look twice, and a moment.
const TWO_LOOKS: Duration = Duration::from_millis(2_500);

pub(super) async fn change(place: &Place<'_>, server: &watch::Receiver<Reach>) -> Result<Verdict> {
    let ours = place.options.certificates()?;
    let abroad = ours.folder().with_file_name("certificates-abroad");
    let theirs = place.options.clone().with_certificates(abroad).certificates()?;
    let authority = fs::read_to_string(ours.authority())?;
    let both = authority.clone() + &fs::read_to_string(theirs.authority())?;
    let mut stranger = Stranger { server, ours: &ours, theirs: &theirs, connected: None };

    place.certificate_files.trust(both)?;
    let mut verdict = until("a new authority is trusted", SOON, async || stranger.call().await).await;
    place.certificate_files.cut()?;
    time::sleep(TWO_LOOKS).await;
    let kept = until("half a certificate changes nothing", SOON, async || stranger.call().await).await;
    verdict = verdict.and(kept);
    place.certificate_files.trust(authority)?;
    let ended = until("an old authority is trusted no more", SOON, async || match stranger.call().await {
        Ok(()) => Err(anyhow!("it still is")),
        Err(_) => Ok(()),
    })
    .await;
    Ok(verdict.and(ended))
}

/// Somebody of the other authority, who keeps his connection.
struct Stranger<'a> {
    server: &'a watch::Receiver<Reach>,
    ours: &'a Certificates,
    theirs: &'a Certificates,
    connected: Option<(SocketAddr, Client)>,
}

impl Stranger<'_> {
    async fn call(&mut self) -> Result<()> {
        let address = self.server.borrow().address;
        let mut client = match &self.connected {
            Some((before, client)) if *before == address => client.clone(),
            _ => manager::connect_from_abroad(address, self.ours, self.theirs, "client").await?,
        };
        self.connected = Some((address, client.clone()));
        let request = ListDeploymentsRequest { page_size: 1, ..ListDeploymentsRequest::default() };
        client.list_deployments(request).await?;
        Ok(())
    }
}
