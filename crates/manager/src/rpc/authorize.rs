//! Who the caller is and what they may do. Checked once for each request, before it does anything.

mod metrics;
mod reviews;
#[cfg(test)]
mod tests;
mod turns;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kube::Client;
use prometheus_client::registry::Registry;
use replica_count_core::authorization::{Access, Denial, Verdict, reserved_name};
use replica_count_core::policy::Policy;
use tonic::Request;
use tracing::{debug, warn};

use self::metrics::AuthorizationMetrics;
use self::reviews::Reviews;
use super::status::Refusal;
use crate::net::tls::Peer;
use crate::net::tls::identity::Identity;

/// The user of a request without a client certificate, which happens only in tests without TLS.
const NOBODY: &str = "";

/// The client that sent a request.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    /// What the client certificate says. `None`: there is none.
    identity: Option<Arc<Identity>>,
}

impl Caller {
    /// The client that sent `request`.
    pub(super) fn of<T>(request: &Request<T>) -> Self {
        let peer = request.extensions().get::<Peer>();
        Self { identity: peer.map(|peer| Arc::clone(&peer.identity)) }
    }

    /// The user named by the client certificate.
    pub(super) fn user(&self) -> &str {
        self.identity.as_ref().map_or(NOBODY, |identity| &identity.user)
    }
}

/// How it is decided what clients may do.
pub struct Authorizer(Mode);

enum Mode {
    /// Everybody may do everything.
    AlwaysAllow {
        /// Whether it was logged that a client has a name of Kubernetes.
        has_warned: AtomicBool,
    },
    /// Kubernetes decides.
    Rbac(Reviews<Client>),
}

impl Authorizer {
    /// Allows everything to everybody with a certificate.
    pub fn always_allow() -> Self {
        Self(Mode::AlwaysAllow { has_warned: AtomicBool::new(false) })
    }

    /// Asks Kubernetes through `client`.
    pub fn rbac(client: Client, registry: &mut Registry) -> Self {
        let metrics = AuthorizationMetrics::new();
        metrics.register(registry);
        Self(Mode::Rbac(Reviews::new(client, metrics)))
    }

    /// Whether different users may do different things.
    pub(super) fn distinguishes_users(&self) -> bool {
        matches!(self.0, Mode::Rbac(_))
    }

    /// Checks that `caller` may do this, and that this server does it. Settings that are out of scope can be read and
    /// deleted.
    pub(super) async fn authorize(
        &self,
        policy: &Policy,
        caller: &Caller,
        access: Access<'_>,
    ) -> Result<(), Refusal> {
        debug!(user = caller.user(), %access, "request");
        match &self.0 {
            Mode::AlwaysAllow { has_warned } => warn_of_reserved_name(has_warned, caller),
            Mode::Rbac(reviews) => check_rights(reviews, caller, access).await?,
        }
        match access {
            Access::Set { target, .. } | Access::SetEnforcement(target) => Ok(policy.scope.check(target)?),
            Access::List(_)
            | Access::Get(_)
            | Access::GetEvents { .. }
            | Access::Watch { .. }
            | Access::Delete(_) => Ok(()),
        }
    }
}

fn reserved_name_of(identity: &Identity) -> Option<&str> {
    reserved_name(&identity.user, identity.groups.iter().map(String::as_str))
}

fn warn_of_reserved_name(has_warned: &AtomicBool, caller: &Caller) {
    let Some(name) = caller.identity.as_deref().and_then(reserved_name_of) else { return };
    if !has_warned.swap(true, Ordering::Relaxed) {
        warn!(
            user = caller.user(),
            name,
            "a client certificate has a name that belongs to Kubernetes; it would be refused with \
             --authorization-mode=rbac"
        );
    }
}

async fn check_rights(reviews: &Reviews<Client>, caller: &Caller, access: Access<'_>) -> Result<(), Refusal> {
    let question = access.question();
    let Some(identity) = &caller.identity else {
        return Err(Refusal::Denied(Denial { user: NOBODY.to_owned(), question }));
    };
    if let Some(name) = reserved_name_of(identity) {
        return Err(Refusal::ReservedName(name.to_owned()));
    }
    match reviews.ask(identity, &question).await {
        Ok(Verdict::Allowed) => Ok(()),
        Ok(Verdict::Denied) => Err(Refusal::Denied(Denial { user: caller.user().to_owned(), question })),
        Err(error) => Err(Refusal::NotAuthorizable(error)),
    }
}
