//! The context of the kubeconfig, as kubectl would use it.

use std::path::Path;
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};

use crate::failure::Failure;

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

    /// A client of its API server. Nothing is connected yet.
    pub async fn client(&self) -> Result<Client, Failure> {
        let refused =
            |reason: String| Failure::new(format!("the context {} cannot be used: {reason}", self.name));
        let options = KubeConfigOptions { context: Some(self.name.clone()), ..KubeConfigOptions::default() };
        let mut config = Config::from_custom_kubeconfig(self.kubeconfig.clone(), &options)
            .await
            .map_err(|error| refused(chain(&error)))?;
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        Client::try_from(config).map_err(|error| refused(chain(&error)))
    }
}

pub(super) use replica_count_client::describe::chain;
