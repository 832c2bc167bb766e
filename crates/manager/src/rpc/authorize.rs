//! Who calls, and what they may do: asked once for each request, before it does anything.

use replica_count_core::policy::Policy;
use replica_count_core::target::Target;
use tonic::Request;

use super::status::Refusal;
use crate::net::tls::Peer;

/// Who a change is by when no client certificate says so. Only tests without TLS see it.
const NOBODY: &str = "";

/// What is done to a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    /// Store a count, or say whether it is enforced.
    Update,
    /// Delete a setting.
    Delete,
}

/// The user that the client certificate names.
pub(super) fn user<T>(request: &Request<T>) -> String {
    let peer = request.extensions().get::<Peer>();
    peer.map_or(NOBODY, |peer| &*peer.identity.user).to_owned()
}

/// Whether `verb` may be done to `target` on this server. A setting that is out of scope can still be deleted.
pub(super) fn authorize(policy: &Policy, verb: Verb, target: &Target) -> Result<(), Refusal> {
    match verb {
        Verb::Update => Ok(policy.scope.check(target)?),
        Verb::Delete => Ok(()),
    }
}
