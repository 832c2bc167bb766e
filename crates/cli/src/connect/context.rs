//! The context of the kubeconfig, as kubectl would use it.

use std::env;
use std::path::Path;
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};

use super::proxy::is_exempt;
use crate::failure::Failure;
pub(super) use replica_count_client::describe::chain;

/// The timeout for connecting to the API server.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A context of a kubeconfig.
#[derive(Clone, Debug)]
pub struct Context {
    name: String,
    namespace: String,
    kubeconfig: Kubeconfig,
}

impl Context {
    /// Reads a kubeconfig and chooses a context, by default its current one. `None`: there is no kubeconfig, or it has
    /// no current context, and neither was asked for.
    pub fn read(file: Option<&Path>, name: Option<&str>) -> Result<Option<Self>, Failure> {
        let read = match file {
            Some(file) => Kubeconfig::read_from(file),
            None => Kubeconfig::read(),
        };
        let kubeconfig = match read {
            Ok(kubeconfig) => kubeconfig,
            Err(KubeconfigError::ReadConfig(..) | KubeconfigError::FindPath)
                if file.is_none() && name.is_none() =>
            {
                return Ok(None);
            }
            Err(error) => {
                return Err(Failure::new(format!("the kubeconfig cannot be used: {}", chain(&error))));
            }
        };
        let chosen = name.map(str::to_owned).or_else(|| kubeconfig.current_context.clone());
        let Some(chosen) = chosen.filter(|name| !name.is_empty()) else {
            return match file {
                None => Ok(None),
                Some(file) => Err(Failure::new(format!("{} has no current context", file.display()))
                    .advise("Choose one with --context NAME.")),
            };
        };
        let contexts = &kubeconfig.contexts;
        let Some(named) = contexts.iter().find(|named| named.name == chosen) else {
            return Err(Failure::new(format!("the kubeconfig has no context {chosen:?}"))
                .advise("`kubectl config get-contexts` lists them."));
        };
        let namespace = named.context.as_ref().and_then(|context| context.namespace.clone());
        let namespace = namespace.filter(|namespace| !namespace.is_empty());
        Ok(Some(Self {
            name: chosen,
            namespace: namespace.unwrap_or_else(|| "default".to_owned()),
            kubeconfig,
        }))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its namespace, by default `default`.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Whether the kubeconfig itself names a proxy.
    fn names_proxy(&self) -> bool {
        let context = self.kubeconfig.contexts.iter().find(|named| named.name == self.name);
        let cluster = context.and_then(|named| Some(named.context.as_ref()?.cluster.as_str()));
        let cluster = self.kubeconfig.clusters.iter().find(|named| Some(named.name.as_str()) == cluster);
        cluster
            .and_then(|named| named.cluster.as_ref()?.proxy_url.as_deref())
            .is_some_and(|url| !url.is_empty())
    }

    /// A client of its API server. Nothing is connected yet.
    pub async fn client(&self) -> Result<Client, Failure> {
        let refused =
            |reason: String| Failure::new(format!("the context {} cannot be used: {reason}", self.name));
        let options = KubeConfigOptions { context: Some(self.name.clone()), ..KubeConfigOptions::default() };
        let mut config = Config::from_custom_kubeconfig(self.kubeconfig.clone(), &options)
            .await
            .map_err(|error| refused(chain(&error)))?;
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        if !self.names_proxy() && is_exempt(config.cluster_url.host().unwrap_or_default(), &no_proxy()) {
            config.proxy_url = None;
        }
        Client::try_from(config).map_err(|error| refused(chain(&error)))
    }
}

/// The hosts that are reached without the proxy of the environment.
fn no_proxy() -> String {
    let names = ["NO_PROXY", "no_proxy"].into_iter();
    names.filter_map(|name| env::var(name).ok()).find(|hosts| !hosts.is_empty()).unwrap_or_default()
}
