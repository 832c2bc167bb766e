//! A connection, and how it was found.

use std::sync::Arc;

use replica_count_client::{Address, Connection};

use super::context::Context;
use super::pair::Pair;
use super::service::ServerService;

/// How a server is reached.
#[derive(Clone, Debug)]
pub enum Route {
    /// At an address.
    Direct(Address),
    /// Through the API server, to a pod of a Service.
    Forward(ServerService),
}

/// A connection to a server, and how it was found. Clones share the connection.
#[derive(Clone, Debug)]
pub struct Session {
    /// The connection.
    pub connection: Connection,
    /// How the server is reached.
    pub route: Route,
    /// What this client presents.
    pub pair: Arc<Pair>,
    /// The context of the kubeconfig. `None`: there is no kubeconfig.
    pub context: Option<Context>,
}

impl Session {
    /// The namespace of the context.
    pub fn namespace(&self) -> &str {
        self.context.as_ref().map_or("default", Context::namespace)
    }
}
