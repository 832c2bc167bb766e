//! Renews credentials: nothing that others renew is read only once.
//!
//! Files are compared with what was read of them every few seconds. A credential plugin runs when its credentials are
//! about to expire. A 401 of the API server leads to both at once. Each has one owner, this task, so there is never more
//! than one plugin; and whatever fails, the last credentials stay in use.

use std::time::Duration;

use jiff::Timestamp;
use replica_count_core::backoff::Backoff;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::access::{Access, Connections, HttpVersion, Unusable};
use super::cause::chain;
use super::connection::{Connection, Current, NoCredentials, Ready};
use super::plugin::{Obtained, Plugin, PluginError};
use super::requests::ApiRequests;
use super::source::{Opened, SourceError};
use super::standing::Standing;

/// The pause between two looks at files and at expiry. No look is made while a plugin runs.
const PERIOD: Duration = Duration::from_secs(5);
/// The same after a 401.
const PAUSE: Duration = Duration::from_secs(1);
/// How long before their expiry credentials of a plugin are renewed.
const AHEAD: Duration = Duration::from_secs(15);
/// The pauses of a plugin that fails, or whose credentials are refused.
const BACKOFF: Backoff = Backoff { base: PERIOD, cap: Duration::from_mins(1) };

/// Renews credentials until it is told to end.
pub struct Renewal {
    opened: Opened,
    given: Given,
    used: Option<Used>,
    generation: u64,
    current: watch::Sender<Current>,
    refused: watch::Receiver<u64>,
    standing: Standing,
    requests: ApiRequests,
    /// The last failure that was logged, until there is none.
    reported: Option<String>,
}

/// What the plugin gave, if there is one.
#[derive(Default)]
struct Given {
    obtained: Option<Obtained>,
    /// Why it gave nothing newer.
    failed: Option<PluginError>,
    /// Failures and refusals in a row.
    failures: u32,
    /// When it may run again.
    next: Option<Instant>,
}

/// The access in use.
struct Used {
    access: Access,
    connections: Connections,
}

impl Renewal {
    /// Prepares what was read for use. Fails if it cannot be used.
    pub(super) fn start(opened: Opened) -> Result<(Self, Connection), Unusable> {
        let (current, receiver) = watch::channel(Current::Pending);
        let (sender, refused) = watch::channel(0);
        let standing = Standing::new();
        let requests = ApiRequests::default();
        let connection = Connection {
            current: receiver,
            refused: sender,
            standing: standing.clone(),
            requests: requests.clone(),
        };
        let given = Given::default();
        let mut this = Self {
            opened,
            given,
            used: None,
            generation: 0,
            current,
            refused,
            standing,
            requests,
            reported: None,
        };
        this.use_newest()?;
        Ok((this, connection))
    }

    /// How the server stands with the API server.
    pub fn standing(&self) -> Standing {
        self.standing.clone()
    }

    /// The requests that the client sends.
    pub fn requests(&self) -> ApiRequests {
        self.requests.clone()
    }

    /// Renews until `shutdown`. A plugin that is running then is killed.
    pub async fn run(mut self, shutdown: CancellationToken) {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = self.renew() => {}
        }
    }

    async fn renew(&mut self) {
        loop {
            let is_refused = self.generation > 0 && *self.refused.borrow_and_update() == self.generation;
            self.look(is_refused).await;
            sleep(PAUSE).await;
            // It is closed only when there is no client any more.
            let _ = timeout(PERIOD.saturating_sub(PAUSE), self.refused.changed()).await;
        }
    }

    /// Looks for newer credentials. `is_refused`: the API server does not accept those in use.
    async fn look(&mut self, is_refused: bool) {
        let read = self.read_changed_files().await;
        if let Some(plugin) = &self.opened.loaded.plugin {
            let is_authenticated = self.standing.unauthenticated().is_none();
            self.given.renew(plugin, is_refused, is_authenticated).await;
        }
        let used = self.use_newest();
        let failed = self.given.failed.as_ref().map_or(Ok(()), |error| Err(chain(error)));
        let outcome =
            read.map_err(|error| chain(&error)).and(failed).and(used.map_err(|error| chain(&error)));
        match outcome {
            Ok(()) => {
                self.standing.set_current();
                if self.reported.take().is_some() {
                    info!(credentials = %self.opened.loaded.method, "credentials can be read again");
                }
            }
            Err(reason) => self.report(reason),
        }
    }

    async fn read_changed_files(&mut self) -> Result<(), SourceError> {
        let opened = self.opened.clone();
        let read = spawn_blocking(move || opened.reread_if_changed()).await;
        let Some(loaded) = read.map_err(|error| SourceError::Interrupted(error.to_string()))?? else {
            return Ok(());
        };
        if loaded.plugin != self.opened.loaded.plugin {
            self.given = Given::default();
        }
        self.opened.loaded = loaded;
        Ok(())
    }

    /// Uses what was read and given last, if that is new.
    fn use_newest(&mut self) -> Result<(), Unusable> {
        let mut access = self.opened.loaded.access.clone();
        if self.opened.loaded.plugin.is_some() {
            let Some(obtained) = &self.given.obtained else {
                // Only whether the rest can be used is known.
                return access.endpoint.connections(HttpVersion::One).map(drop);
            };
            access.authorization.clone_from(&obtained.authorization);
            access.endpoint.certificate.clone_from(&obtained.certificate);
        }
        let connections = match &self.used {
            Some(used) if used.access == access => return Ok(()),
            Some(used) if used.access.endpoint == access.endpoint => used.connections.clone(),
            Some(_) | None => access.endpoint.connections(HttpVersion::One)?,
        };
        let requests = access.requests(connections.clone())?;
        let from = self.opened.loaded.method.to_string();
        self.used = Some(Used { access, connections });
        self.generation += 1;
        if self.generation > 1 {
            info!(credentials = from, "credentials renewed");
            self.standing.count_renewal();
        }
        let ready = Ready { requests, from: from.into(), generation: self.generation };
        self.current.send_replace(Current::Ready(Box::new(ready)));
        Ok(())
    }

    /// Reports a failure: once in the log, and to requests if there are no credentials.
    fn report(&mut self, reason: String) {
        if self.used.is_none() {
            self.standing.set_unauthenticated();
            self.current.send_replace(Current::Missing(NoCredentials(reason.as_str().into())));
        }
        if self.reported.as_ref() == Some(&reason) {
            debug!(reason, "credentials still cannot be renewed");
        } else {
            let kept = if self.used.is_some() { "the last ones stay in use" } else { "there are none" };
            warn!(reason, kept, "credentials cannot be renewed");
        }
        self.reported = Some(reason);
    }
}

impl Given {
    /// Runs the plugin if its credentials are missing, about to expire or refused, but never too soon. While they are
    /// refused now and then, `is_authenticated` is false, too, and the pauses keep growing.
    async fn renew(&mut self, plugin: &Plugin, is_refused: bool, is_authenticated: bool) {
        let is_needed = match &self.obtained {
            None => true,
            Some(obtained) => is_refused || self.failed.is_some() || expires_soon(obtained),
        };
        if !is_needed {
            if is_authenticated {
                self.failures = 0;
            }
            return;
        }
        if self.next.is_some_and(|next| Instant::now() < next) {
            return;
        }
        match plugin.run().await {
            Ok(obtained) => {
                self.obtained = Some(obtained);
                self.failed = None;
            }
            Err(error) => self.failed = Some(error),
        }
        let is_good = self.failed.is_none() && !is_refused;
        self.failures = if is_good { 0 } else { self.failures.saturating_add(1) };
        let pause = if is_good { PERIOD } else { BACKOFF.delay(self.failures, fastrand::f64()) };
        self.next = Some(Instant::now() + pause);
    }
}

fn expires_soon(obtained: &Obtained) -> bool {
    obtained.expires.is_some_and(|expires| expires <= Timestamp::now() + AHEAD)
}

#[cfg(test)]
mod tests;
