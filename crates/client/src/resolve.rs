//! Resolves host names without the C library, whose resolver loads shared libraries. A static binary in an empty image
//! has none.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use std::vec;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::system_conf::parse_resolv_conf;
use hickory_resolver::{Hosts, TokioResolver};
use hyper_util::client::legacy::connect::dns::Name;
use tokio::time::Instant;
use tower::Service;

/// The shortest time between two looks at the files.
const PERIOD: Duration = Duration::from_secs(1);

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

/// Resolves according to `/etc/resolv.conf` and `/etc/hosts`, also after they have changed. Reads them only for names:
/// most API servers are addressed by IP address, and then neither file is needed.
#[derive(Clone, Debug)]
pub struct Resolver {
    files: Files,
    used: Arc<Mutex<Option<Used>>>,
}

/// The files that say how names are resolved.
#[derive(Clone, Debug)]
struct Files {
    name_servers: PathBuf,
    hosts: PathBuf,
}

/// What these files contain.
#[derive(Debug, PartialEq, Eq)]
struct Contents {
    name_servers: Vec<u8>,
    hosts: Vec<u8>,
}

/// A resolver, and what it was made of.
#[derive(Debug)]
struct Used {
    contents: Contents,
    /// When the files were compared with that last.
    compared: Instant,
    resolver: Arc<TokioResolver>,
}

impl Files {
    fn read(&self) -> Result<Contents, NetError> {
        // There may be no hosts file.
        let hosts = fs::read(&self.hosts).unwrap_or_default();
        Ok(Contents { name_servers: fs::read(&self.name_servers)?, hosts })
    }
}

impl Used {
    fn new(contents: Contents) -> Result<Self, NetError> {
        let (config, options) = parse_resolv_conf(&contents.name_servers)?;
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        *builder.options_mut() = options;
        let mut resolver = builder.build()?;
        let mut hosts = Hosts::default();
        hosts.read_hosts_conf(contents.hosts.as_slice())?;
        resolver.set_hosts(Arc::new(hosts));
        Ok(Self { contents, compared: Instant::now(), resolver: Arc::new(resolver) })
    }

    fn follow(&mut self, files: &Files) -> Result<(), NetError> {
        self.compared = Instant::now();
        let contents = files.read()?;
        if contents != self.contents {
            *self = Self::new(contents)?;
        }
        Ok(())
    }
}

impl Default for Resolver {
    fn default() -> Self {
        Self::of(Files { name_servers: "/etc/resolv.conf".into(), hosts: "/etc/hosts".into() })
    }
}

impl Resolver {
    fn of(files: Files) -> Self {
        Self { files, used: Arc::default() }
    }

    /// The resolver for the files as they are now.
    fn current(&self) -> Result<Arc<TokioResolver>, ResolveError> {
        // It is replaced as a whole, so it is valid even if a holder of the lock panicked.
        let mut known = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let used = match &mut *known {
            Some(used) => {
                if used.compared.elapsed() >= PERIOD {
                    // While the files cannot be used, for example because they are half written, the last ones count.
                    let _ = used.follow(&self.files);
                }
                used
            }
            None => known.insert(self.files.read().and_then(Used::new).map_err(ResolveError::Configuration)?),
        };
        Ok(Arc::clone(&used.resolver))
    }

    async fn addresses(&self, name: &Name) -> Result<Vec<SocketAddr>, ResolveError> {
        let found = self.current()?.lookup_ip(name.as_str()).await;
        let found =
            found.map_err(|reason| ResolveError::Lookup { name: name.as_str().to_owned(), reason })?;
        Ok(found.iter().map(|address| (address, 0).into()).collect())
    }
}

impl Service<Name> for Resolver {
    /// Without ports, which the connector sets.
    type Response = vec::IntoIter<SocketAddr>;
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
    use tempfile::TempDir;
    use tokio::time::advance;

    use super::*;

    #[tokio::test]
    async fn names_in_the_hosts_file_are_found() {
        let name: Name = "localhost".parse().expect("a name");
        let found: Vec<_> = Resolver::default().call(name).await.expect("found").collect();
        assert!(found.iter().all(|address| address.ip().is_loopback()) && !found.is_empty(), "{found:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn changed_files_are_read_again() {
        let folder = TempDir::new().expect("a folder");
        let files =
            Files { name_servers: folder.path().join("resolv.conf"), hosts: folder.path().join("hosts") };
        let resolver = Resolver::of(files.clone());
        assert!(matches!(resolver.current(), Err(ResolveError::Configuration(_))));

        let check = async |hosts: &str, expected: &str| {
            // Both kinds of addresses, so that no name server is asked.
            fs::write(&files.hosts, format!("{hosts} k8s.test\n::1 k8s.test\n")).expect("written");
            let found = resolver.addresses(&"k8s.test".parse().expect("a name")).await.expect("found");
            assert!(found.iter().any(|address| address.ip().to_string() == expected), "{found:?}");
        };
        fs::write(&files.name_servers, "nameserver 127.0.0.1\n").expect("written");
        check("10.0.0.1", "10.0.0.1").await;
        check("10.0.0.2", "10.0.0.1").await;
        advance(PERIOD).await;
        check("10.0.0.2", "10.0.0.2").await;

        let replaced = async |name_servers: &str| {
            let before = resolver.current().expect("usable");
            fs::write(&files.name_servers, name_servers).expect("written");
            advance(PERIOD).await;
            !Arc::ptr_eq(&before, &resolver.current().expect("usable"))
        };
        assert!(!replaced("nameserver 127.0.0.1\n").await, "it has not changed");
        assert!(!replaced("").await, "it cannot be used");
        assert!(replaced("nameserver 127.0.0.2\n").await);
    }
}
