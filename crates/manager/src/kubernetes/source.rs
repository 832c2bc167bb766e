//! Where the connection to the API server is configured: a kubeconfig, or the service account of the pod.
//!
//! Which of them it is, and which context, is decided once, at the start. What they say is read again and again.

mod error;
mod files;
mod kubeconfig;
mod pod;
mod server;
mod user;

use std::env;
use std::path::PathBuf;

use http::Uri;
use kube::config::{Cluster, Kubeconfig};

pub use self::error::SourceError;
use self::files::Files;
use self::pod::Pod;
use self::user::Method;
use super::access::{Access, Endpoint, Trust};
use super::credentials::{authorities, encode};
use super::plugin::Plugin;
use super::proxy::{Environment, Proxy, ProxyError};

/// Where the API server and the credentials come from.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// A kubeconfig file. `None`: `$KUBECONFIG`, `~/.kube/config`, or the pod's service account.
    pub kubeconfig: Option<PathBuf>,
    /// A context of the kubeconfig. `None`: its current one.
    pub context: Option<String>,
}

/// A source that was opened, and what it says.
#[derive(Clone)]
pub struct Opened {
    chosen: Chosen,
    pub(super) loaded: Loaded,
}

/// A source as it was chosen at the start.
#[derive(Clone)]
struct Chosen {
    place: Place,
    environment: Environment,
}

#[derive(Clone)]
enum Place {
    Kubeconfig {
        /// How it was named, for error messages.
        name: String,
        paths: Vec<PathBuf>,
        /// Another context that becomes the current one may be of another cluster.
        context: String,
    },
    Pod(Pod),
}

/// What a source says.
#[derive(Clone)]
pub(super) struct Loaded {
    /// The access, without what a plugin gives.
    pub(super) access: Access,
    pub(super) plugin: Option<Plugin>,
    pub(super) method: Method,
    /// The files that were read.
    files: Files,
}

impl Source {
    /// Chooses and reads the source. Runs nothing and connects to nothing. May block, as file systems may.
    pub fn open(&self) -> Result<Opened, SourceError> {
        let environment = Environment::read();
        let mut files = Files::first();
        let place = self.choose(&mut files)?;
        let chosen = Chosen { place, environment };
        // It reads the kubeconfig again, so pipes must be remembered.
        let loaded = chosen.load(files.reread())?;
        Ok(Opened { chosen, loaded })
    }

    fn choose(&self, files: &mut Files) -> Result<Place, SourceError> {
        if let Some(path) = &self.kubeconfig {
            let (name, paths) = (format!("--kubeconfig {}", path.display()), vec![path.clone()]);
            let Some(read) = kubeconfig::read(&name, &paths, files)? else {
                return Err(SourceError::refused(&name, "it does not exist"));
            };
            let context = self.context.clone().or_else(|| kubeconfig::current_context(&read));
            let context = context.ok_or_else(|| SourceError::refused(&name, NO_CONTEXT))?;
            return Ok(Place::Kubeconfig { name, paths, context });
        }
        let (name, paths) = default_files();
        let read = kubeconfig::read(&name, &paths, files)?;
        let current = read.as_ref().and_then(kubeconfig::current_context);
        match (self.context.clone(), current) {
            (Some(context), _) => {
                let name = format!("--context {context}: {name}");
                match read {
                    Some(_) => Ok(Place::Kubeconfig { name, paths, context }),
                    None => Err(SourceError::refused(&name, "it does not exist")),
                }
            }
            (None, Some(context)) => Ok(Place::Kubeconfig { name, paths, context }),
            // An empty kubeconfig is like none.
            (None, None) => match Pod::from_environment(|name| env::var(name).ok())? {
                Some(pod) => Ok(Place::Pod(pod)),
                None if read.is_some() => Err(SourceError::refused(&name, NO_CONTEXT)),
                None => Err(SourceError::Missing(format!(
                    "{name} does not exist, and KUBERNETES_SERVICE_HOST is not set"
                ))),
            },
        }
    }
}

const NO_CONTEXT: &str = "no context is current; name one by --context";

/// The files that are used if none is named by a flag, and how they were named.
fn default_files() -> (String, Vec<PathBuf>) {
    let listed = env::var_os("KUBECONFIG").unwrap_or_default();
    let paths: Vec<PathBuf> = env::split_paths(&listed).filter(|path| !path.as_os_str().is_empty()).collect();
    if !paths.is_empty() {
        return (format!("KUBECONFIG {}", error::list(&paths)), paths);
    }
    // Not by the user database, which a static binary may not be able to read.
    let home = env::var_os("HOME").unwrap_or_default();
    let path = PathBuf::from(home).join(".kube/config");
    (path.display().to_string(), vec![path])
}

impl Opened {
    /// The address of the API server.
    pub fn server(&self) -> &Uri {
        &self.loaded.access.endpoint.server
    }

    /// What the source says now. `None`: nothing has changed. May block, as file systems may.
    pub(super) fn reread_if_changed(&self) -> Result<Option<Loaded>, SourceError> {
        let files = &self.loaded.files;
        files.have_changed().then(|| self.chosen.load(files.again())).transpose()
    }
}

impl Chosen {
    /// Reads what the source says now. May block, as file systems may.
    fn load(&self, mut files: Files) -> Result<Loaded, SourceError> {
        match &self.place {
            Place::Kubeconfig { name, paths, context } => {
                let read = kubeconfig::read(name, paths, &mut files)?;
                let read = read.ok_or_else(|| SourceError::refused(name, "it does not exist"))?;
                let refused = |reason: String| SourceError::refused(name, reason);
                let (access, plugin, method) = self.resolve(&read, context, &mut files).map_err(refused)?;
                Ok(Loaded { access, plugin, method, files })
            }
            Place::Pod(pod) => {
                let proxy = self.environment.proxy(pod.server());
                let proxy = proxy.map_err(|error| SourceError::refused(pod::NAME, error.to_string()))?;
                let access = pod.access(proxy, &mut files)?;
                Ok(Loaded { access, plugin: None, method: Method::ServiceAccount, files })
            }
        }
    }

    fn resolve(
        &self,
        read: &Kubeconfig,
        context: &str,
        files: &mut Files,
    ) -> Result<(Access, Option<Plugin>, Method), String> {
        let kubeconfig::Chosen { mut cluster, user } = kubeconfig::choose(read, context)?;
        let authorities = inline_authorities(&mut cluster, files)?;
        let server = server::of(&cluster)?;
        let proxy = self.proxy(&cluster, &server).map_err(|error| error.to_string())?;
        let user = user::read(user, &cluster, files)?;
        let trust = match authorities {
            _ if cluster.insecure_skip_tls_verify == Some(true) => Trust::Anybody,
            Some(authorities) => Trust::Authorities(authorities),
            None => Trust::PublicAuthorities,
        };
        let server_name = cluster.tls_server_name.filter(|name| !name.is_empty());
        let endpoint = Endpoint { server, server_name, trust, proxy, certificate: user.certificate };
        let access =
            Access { endpoint, authorization: user.authorization, impersonation: user.impersonation };
        Ok((access, user.plugin, user.method))
    }

    /// The proxy that the kubeconfig names, always, or that of the environment.
    fn proxy(&self, cluster: &Cluster, server: &Uri) -> Result<Option<Proxy>, ProxyError> {
        match cluster.proxy_url.as_ref().filter(|url| !url.is_empty()) {
            Some(url) => Proxy::parse("proxy-url", url).map(Some),
            None => self.environment.proxy(server),
        }
    }
}

/// Reads the certificates of the authorities (DER), and puts them into the cluster, for plugins.
fn inline_authorities(cluster: &mut Cluster, files: &mut Files) -> Result<Option<Vec<Vec<u8>>>, String> {
    let key = "certificate-authority";
    let inline = cluster.certificate_authority_data.as_deref();
    let Some(pem) = user::data(key, inline, cluster.certificate_authority.as_deref(), files)? else {
        return Ok(None);
    };
    let authorities = authorities(&pem).map_err(|reason| {
        format!("{key} {}: {reason}", cluster.certificate_authority.as_deref().unwrap_or("-data"))
    })?;
    cluster.certificate_authority_data = Some(encode(&pem));
    Ok(Some(authorities))
}

#[cfg(test)]
mod tests;
