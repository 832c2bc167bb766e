//! Resolves host names without the C library, whose resolver loads shared libraries. A static binary in an empty image
//! has none.

use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::{io, vec};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use hickory_resolver::TokioResolver;
use hyper_util::client::legacy::connect::dns::Name;
use tower::Service;

/// Resolves according to `/etc/resolv.conf` and `/etc/hosts`. Reads them for the first name: most API servers are
/// addressed by IP address, and then neither file is needed.
#[derive(Clone, Debug, Default)]
pub struct Resolver(Arc<OnceLock<TokioResolver>>);

impl Resolver {
    fn get(&self) -> io::Result<&TokioResolver> {
        if let Some(resolver) = self.0.get() {
            return Ok(resolver);
        }
        let resolver = TokioResolver::builder_tokio().and_then(hickory_resolver::ResolverBuilder::build);
        let resolver = resolver.map_err(|error| io::Error::other(format!("/etc/resolv.conf: {error}")))?;
        Ok(self.0.get_or_init(|| resolver))
    }
}

impl Service<Name> for Resolver {
    /// Without ports, which the connector sets.
    type Response = vec::IntoIter<std::net::SocketAddr>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let this = self.clone();
        async move {
            let lookup = this.get()?.lookup_ip(name.as_str()).await;
            let addresses =
                lookup.map_err(|error| io::Error::other(format!("cannot resolve {name}: {error}")))?;
            Ok(addresses.iter().map(|address| (address, 0).into()).collect::<Vec<_>>().into_iter())
        }
        .boxed()
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
