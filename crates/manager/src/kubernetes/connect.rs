//! How the API server is found, and with which limits it is called.

use std::path::PathBuf;
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

/// How long a connection to the API server may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long writing a request may stall.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// Where the API server and the credentials come from.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// A kubeconfig file. `None`: `$KUBECONFIG`, `~/.kube/config`, or the pod's service account.
    pub kubeconfig: Option<PathBuf>,
    /// A context of the kubeconfig. `None`: its current one.
    pub context: Option<String>,
}

/// Why there is no usable configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The kubeconfig file cannot be used.
    #[error("--kubeconfig {path}: {reason}", path = path.display())]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The context cannot be used.
    #[error("--context {context}: {reason}")]
    Context {
        /// Its name.
        context: String,
        /// What is wrong with it.
        reason: String,
    },
    /// There is neither a kubeconfig nor a service account.
    #[error(
        "no Kubernetes configuration: use --kubeconfig, KUBECONFIG, ~/.kube/config or a pod's service account ({0})"
    )]
    Infer(String),
    /// The configuration cannot be turned into a client.
    #[error("the Kubernetes configuration cannot be used: {0}")]
    Client(String),
}

impl Source {
    /// Reads the configuration; connects to nothing yet.
    pub async fn load(&self) -> Result<Config, ConnectError> {
        let mut config = match (&self.kubeconfig, &self.context) {
            (None, None) => Config::infer().await.map_err(|error| ConnectError::Infer(one_line(&error)))?,
            (Some(path), context) => {
                let refused = |reason| ConnectError::Kubeconfig { path: path.clone(), reason };
                let kubeconfig = Kubeconfig::read_from(path).map_err(|error| refused(one_line(&error)))?;
                Config::from_custom_kubeconfig(kubeconfig, &options(context.clone()))
                    .await
                    .map_err(|error| refused(one_line(&error)))?
            }
            (None, Some(context)) => {
                let refused = |reason| ConnectError::Context { context: context.clone(), reason };
                Config::from_kubeconfig(&options(Some(context.clone())))
                    .await
                    .map_err(|error| refused(one_line(&error)))?
            }
        };
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        config.write_timeout = Some(WRITE_TIMEOUT);
        // Each call has a deadline of its own and each watch its own idle limit: see `reads`, `scale` and `watch`.
        config.read_timeout = None;
        // Failed calls are tried again by the queue, which knows by then whether they are still wanted.
        config.default_retry = false;
        Ok(config)
    }
}

/// Makes a client; connects to nothing yet.
pub fn client(config: Config) -> Result<Client, ConnectError> {
    Client::try_from(config).map_err(|error| ConnectError::Client(one_line(&error)))
}

fn options(context: Option<String>) -> KubeConfigOptions {
    KubeConfigOptions { context, ..KubeConfigOptions::default() }
}

/// An error and its causes in one line.
fn one_line(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !line.contains(&text) {
            line = format!("{line}: {text}");
        }
        cause = error.source();
    }
    line.replace('\n', " ")
}
