//! Who the caller is and what they may do. Checked once for each request, before it does anything.

use replica_count_core::policy::Policy;
use replica_count_core::target::Target;
use tonic::Request;

use super::status::Refusal;
use crate::net::tls::Peer;

/// The user of a change without a client certificate, which happens only in tests without TLS.
const NOBODY: &str = "";

/// An operation on a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    /// Store a count, or set whether it is enforced.
    Update,
    /// Delete a setting.
    Delete,
}

/// The user named by the client certificate.
pub(super) fn user<T>(request: &Request<T>) -> String {
    let peer = request.extensions().get::<Peer>();
    peer.map_or(NOBODY, |peer| &*peer.identity.user).to_owned()
}

/// Checks that `verb` is allowed on `target` on this server. A setting that is out of scope can still be deleted.
pub(super) fn authorize(policy: &Policy, verb: Verb, target: &Target) -> Result<(), Refusal> {
    match verb {
        Verb::Update => Ok(policy.scope.check(target)?),
        Verb::Delete => Ok(()),
    }
}
