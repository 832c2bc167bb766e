//! Resolves host names without the C library, whose resolver loads shared libraries. A static binary in an empty image
//! has none.

use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::vec;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use hickory_resolver::TokioResolver;
use hickory_resolver::net::NetError;
use hyper_util::client::legacy::connect::dns::Name;
use tower::Service;

/// Why a name has no address.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// The name servers cannot be used as configured.
    #[error("/etc/resolv.conf: {0}")]
    Configuration(#[source] NetError),
    /// The name has no address, or no name server answers.
    #[error("cannot resolve {name}: {reason}")]
    Lookup {
        /// The name.
        name: String,
        /// What the name servers said.
        #[source]
        reason: NetError,
    },
}

/// Resolves according to `/etc/resolv.conf` and `/etc/hosts`. Reads them for the first name: most API servers are
/// addressed by IP address, and then neither file is needed.
#[derive(Clone, Debug, Default)]
pub struct Resolver(Arc<OnceLock<TokioResolver>>);

impl Resolver {
    fn get(&self) -> Result<&TokioResolver, ResolveError> {
        if let Some(resolver) = self.0.get() {
            return Ok(resolver);
        }
        let resolver = TokioResolver::builder_tokio().and_then(hickory_resolver::ResolverBuilder::build);
        let resolver = resolver.map_err(ResolveError::Configuration)?;
        Ok(self.0.get_or_init(|| resolver))
    }

    async fn addresses(&self, name: &Name) -> Result<Vec<std::net::SocketAddr>, ResolveError> {
        let found = self.get()?.lookup_ip(name.as_str()).await;
        let found =
            found.map_err(|reason| ResolveError::Lookup { name: name.as_str().to_owned(), reason })?;
        Ok(found.iter().map(|address| (address, 0).into()).collect())
    }
}

impl Service<Name> for Resolver {
    /// Without ports, which the connector sets.
    type Response = vec::IntoIter<std::net::SocketAddr>;
    type Error = ResolveError;
    type Future = BoxFuture<'static, Result<Self::Response, ResolveError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ResolveError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let this = self.clone();
        async move { Ok(this.addresses(&name).await?.into_iter()) }.boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn names_in_the_hosts_file_are_found() {
        let name: Name = "localhost".parse().expect("a name");
        let found: Vec<_> = Resolver::default().call(name).await.expect("found").collect();
        assert!(found.iter().all(|address| address.ip().is_loopback()) && !found.is_empty(), "{found:?}");
    }
}
