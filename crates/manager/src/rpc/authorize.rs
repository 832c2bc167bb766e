//! Who the caller is and what they may do. Checked once for each request, before it does anything.

use std::fmt;

use replica_count_core::entry_target::EntryTarget;
use replica_count_core::policy::Policy;
use replica_count_core::target::Target;
use tonic::Request;
use tracing::debug;

use super::status::Refusal;
use crate::net::tls::Peer;

/// The user of a request without a client certificate, which happens only in tests without TLS.
const NOBODY: &str = "";

/// The client that sent a request.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    /// The user named by the client certificate.
    pub(super) user: String,
}

/// What a request wants to do.
#[derive(Clone, Copy, Debug)]
pub(super) enum Access<'a> {
    /// List the targets of a namespace. `None`: of all namespaces.
    List(Option<&'a str>),
    /// Read a target.
    Get(&'a EntryTarget),
    /// Store a count.
    Set(&'a Target),
    /// Set whether a count is enforced.
    SetEnforcement(&'a Target),
    /// Delete a setting.
    Delete(&'a EntryTarget),
}

impl fmt::Display for Access<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::List(None) => formatter.write_str("list all namespaces"),
            Self::List(Some(namespace)) => write!(formatter, "list {namespace}"),
            Self::Get(target) => write!(formatter, "get {target}"),
            Self::Set(target) => write!(formatter, "set {target}"),
            Self::SetEnforcement(target) => write!(formatter, "set the enforcement of {target}"),
            Self::Delete(target) => write!(formatter, "delete {target}"),
        }
    }
}

impl Caller {
    /// The client that sent `request`.
    pub(super) fn of<T>(request: &Request<T>) -> Self {
        let peer = request.extensions().get::<Peer>();
        Self { user: peer.map_or(NOBODY, |peer| &*peer.identity.user).to_owned() }
    }
}

/// Checks that `caller` may do this on this server. Every caller may do everything, but only in scope; settings that are
/// out of scope can be read and deleted.
pub(super) fn authorize(policy: &Policy, caller: &Caller, access: Access<'_>) -> Result<(), Refusal> {
    debug!(user = caller.user, %access, "request");
    match access {
        Access::Set(target) | Access::SetEnforcement(target) => Ok(policy.scope.check(target)?),
        Access::List(_) | Access::Get(_) | Access::Delete(_) => Ok(()),
    }
}
