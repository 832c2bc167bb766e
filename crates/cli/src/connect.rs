//! Finds a server and connects to it.
//!
//! The address is given, or in the profile that `login` wrote for the context, or the server is found in the cluster of
//! the kubeconfig and reached through its API server, as by `kubectl port-forward`. The client pair is in files, in the
//! profile, or in the Secret that the chart made.

mod arguments;
mod certificate;
mod context;
mod forward;
mod pair;
mod pods;
mod profile;
mod proxy;
mod service;
mod service_name;
mod session;
mod trouble;

use std::sync::Arc;
use std::time::Duration;

use replica_count_client::Endpoint;

pub use arguments::ConnectArgs;
pub use certificate::Certificate;
pub use context::Context;
pub use pair::{Origin, Pair};
pub use pods::ServerPod;
pub use profile::Profile;
pub use service::ServerService;
pub use session::{Route, Session};
pub use trouble::explain;

use crate::failure::Failure;
use forward::Forward;

/// How often a connection is checked while a call is in flight.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

impl ConnectArgs {
    /// Finds the server and connects to it.
    pub async fn connect(&self) -> Result<Session, Failure> {
        let context = self.context()?;
        let profile = match &context {
            Some(context) => Profile::read(context.name())?,
            None => None,
        };
        self.connect_with(context, profile.as_ref()).await
    }

    /// Finds the server with a given profile, and connects to it.
    pub async fn connect_with(
        &self,
        context: Option<Context>,
        profile: Option<&Profile>,
    ) -> Result<Session, Failure> {
        let given = self.address(profile);
        let mut found = None;
        if given.is_none() {
            found = Some(self.find_service(context.as_ref(), profile).await?);
        }
        let pair = match self.pair(profile)? {
            Some(pair) => pair,
            None => self.pair_of_chart(context.as_ref(), profile, found.as_ref()).await?,
        };
        pair.check()?;
        let server_name = self.server_name(profile, found.as_ref());
        let (address, route) = match (given, found) {
            (Some(address), _) => (address.clone(), Route::Direct(address.clone())),
            (None, Some(service)) => (service.address(), Route::Forward(service)),
            (None, None) => unreachable!("a Service is found, or this has failed"),
        };
        let endpoint = Endpoint::new(&address, &pair.credentials()?, server_name.as_deref())
            .map_err(|error| Failure::new(error.to_string()))?
            .with_timeout(self.request_timeout)
            .with_keep_alive(KEEP_ALIVE);
        let connection = match &route {
            Route::Direct(_) => endpoint.connect().await,
            Route::Forward(service) => {
                let kubernetes = context.as_ref().expect("the Service was found with it").client().await?;
                endpoint.connect_through(Arc::new(Forward::new(kubernetes, service.clone()))).await
            }
        };
        let connection = connection.map_err(|error| explain(&error.to_string(), &route, &pair))?;
        Ok(Session { connection, route, pair: Arc::new(pair), context })
    }
}
