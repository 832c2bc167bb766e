//! The flags that say which server to call, and as whom.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use replica_count_client::{Address, CredentialFiles};

use super::context::Context;
use super::pair::Pair;
use super::profile::Profile;
use super::service::ServerService;
use super::service_name::ServiceName;
use crate::duration::parse_duration;
use crate::failure::Failure;

const HEADING: &str = "Connection";

/// Which server to call, and as whom. By default the server is found in the cluster of the kubeconfig.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = HEADING)]
pub struct ConnectArgs {
    /// Address of the server [default: of the profile, or found in the cluster]
    #[arg(
        long,
        value_name = "HOST:PORT",
        env = "REPLICAS_SERVER",
        hide_env_values = true,
        hide_short_help = true
    )]
    pub server: Option<Address>,
    /// Certificates of the authorities that sign servers (PEM)
    #[arg(long, value_name = "FILE", env = "REPLICAS_CA", hide_env_values = true, hide_short_help = true)]
    pub ca: Option<PathBuf>,
    /// Certificate of this client (PEM)
    #[arg(long, value_name = "FILE", env = "REPLICAS_CERT", hide_env_values = true, hide_short_help = true)]
    pub cert: Option<PathBuf>,
    /// Private key of that certificate (PEM)
    #[arg(long, value_name = "FILE", env = "REPLICAS_KEY", hide_env_values = true, hide_short_help = true)]
    pub key: Option<PathBuf>,
    /// Name that the certificate of the server must have
    #[arg(
        long,
        value_name = "NAME",
        env = "REPLICAS_SERVER_NAME",
        hide_env_values = true,
        hide_short_help = true
    )]
    pub server_name: Option<String>,
    /// Service of the server in the cluster [default: found by the labels of the chart]
    #[arg(
        long,
        value_name = "NAMESPACE/NAME",
        env = "REPLICAS_SERVICE",
        hide_env_values = true,
        hide_short_help = true
    )]
    pub service: Option<ServiceName>,
    /// Kubeconfig file [default: $KUBECONFIG, or ~/.kube/config]
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig [default: its current context]
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
    /// How long one request may take
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = parse_duration, hide_short_help = true)]
    pub request_timeout: Duration,
}

impl ConnectArgs {
    /// The context of the kubeconfig. `None`: there is no kubeconfig, and none was asked for.
    pub fn context(&self) -> Result<Option<Context>, Failure> {
        Context::read(self.kubeconfig.as_deref(), self.context.as_deref())
    }

    /// The pair in files, or in the profile. `None`: there is none.
    pub(super) fn pair(&self, profile: Option<&Profile>) -> Result<Option<Pair>, Failure> {
        match (&self.ca, &self.cert, &self.key) {
            (Some(ca), Some(cert), Some(key)) => {
                let files =
                    CredentialFiles { authority: ca.clone(), certificate: cert.clone(), key: key.clone() };
                Pair::from_files(&files).map(Some)
            }
            (None, None, None) => Ok(profile.and_then(Profile::pair)),
            (ca, cert, key) => {
                let missing = [("--ca", ca), ("--cert", cert), ("--key", key)]
                    .into_iter()
                    .filter_map(|(flag, file)| file.is_none().then_some(flag))
                    .collect::<Vec<_>>()
                    .join(" and ");
                Err(Failure::usage(format!(
                    "{missing} is missing: the CA, the certificate and its key belong together"
                )))
            }
        }
    }

    /// The address of the server. `None`: it is found in the cluster.
    pub(super) fn address<'a>(&'a self, profile: Option<&'a Profile>) -> Option<&'a Address> {
        match (&self.server, &self.service) {
            (Some(server), _) => Some(server),
            (None, Some(_)) => None,
            (None, None) => profile.and_then(|profile| profile.server.as_ref()),
        }
    }

    /// The name that the server's certificate must have. `None`: the host of the address.
    pub(super) fn server_name(
        &self,
        profile: Option<&Profile>,
        service: Option<&ServerService>,
    ) -> Option<String> {
        // The name in the profile is that of the server in the profile.
        let is_other = self.server.is_some() || self.service.is_some();
        let profiled = || profile.filter(|_| !is_other).and_then(|profile| profile.server_name.clone());
        self.server_name.clone().or_else(profiled).or_else(|| service.map(ServerService::host))
    }

    /// The Service of the server in the cluster.
    pub(super) async fn find_service(
        &self,
        context: Option<&Context>,
        profile: Option<&Profile>,
    ) -> Result<ServerService, Failure> {
        let context = context.ok_or_else(|| {
            Failure::new("there is no kubeconfig to find the server with")
                .advise("Name the server with --server HOST:PORT, or a kubeconfig with --kubeconfig FILE.")
        })?;
        let named = self.service.clone().or_else(|| profile.and_then(Profile::service));
        match named {
            Some(name) => ServerService::get(context, &name).await,
            None => ServerService::find(context).await,
        }
    }

    /// The pair that the chart made for clients.
    pub(super) async fn pair_of_chart(
        &self,
        context: Option<&Context>,
        profile: Option<&Profile>,
        service: Option<&ServerService>,
    ) -> Result<Pair, Failure> {
        let no_pair = |reason: &str| {
            Failure::new(format!("there is no client certificate: {reason}")).advise(
                "Name the files with --ca, --cert and --key. `kubectl replicas login` remembers them for this context.",
            )
        };
        let Some(context) = context else {
            return Err(no_pair("no file is named, and there is no kubeconfig to read a Secret with"));
        };
        let found;
        let service = match service {
            Some(service) => service,
            None => {
                found = self.find_service(Some(context), profile).await;
                found.as_ref().map_err(|failure| no_pair(failure.message()))?
            }
        };
        Pair::from_chart(context, service).await.map_err(|reason| no_pair(&reason))
    }
}
