//! ListDeployments, page by page.

use replica_count_api::proto::{DeploymentsReplicaConfigs, ListDeploymentsRequest};
use tonic::Status;

use crate::connection::Connection;

/// Rows in a page. They take 1 MB with usual names, and 5 MB with the longest names that Kubernetes allows.
pub const PAGE_SIZE: i32 = 10_000;

/// The pages of a list of any length. A row that exists all the time is on exactly one page.
#[derive(Debug)]
pub struct Pages {
    connection: Connection,
    /// The request for the next page. `None` after the last page or an error.
    request: Option<ListDeploymentsRequest>,
}

impl Pages {
    /// The pages of the requested list, starting at the request's page token. Its page size is replaced.
    pub fn new(connection: &Connection, request: ListDeploymentsRequest) -> Self {
        let request = ListDeploymentsRequest { page_size: PAGE_SIZE, ..request };
        Self { connection: connection.clone(), request: Some(request) }
    }

    /// The next page. `None` after the last page or an error.
    pub async fn next(&mut self) -> Result<Option<DeploymentsReplicaConfigs>, Status> {
        let Some(request) = self.request.take() else { return Ok(None) };
        let page = self.connection.deployments().list_deployments(request.clone()).await?.into_inner();
        if !page.next_page_token.is_empty() {
            self.request =
                Some(ListDeploymentsRequest { page_token: page.next_page_token.clone(), ..request });
        }
        Ok(Some(page))
    }
}
