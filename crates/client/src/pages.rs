//! ListDeployments, page by page.

use replica_count_api::proto::{DeploymentsReplicaConfigs, ListDeploymentsRequest};
use tonic::Status;

use crate::connection::Connection;

/// Rows of a page. They take 1 MB with usual names, and 5 MB with the longest names that Kubernetes allows.
pub const PAGE_SIZE: i32 = 10_000;

/// The pages of a list, which may be of any length. A row that is there all the time is on exactly one of them.
#[derive(Debug)]
pub struct Pages {
    connection: Connection,
    /// What to ask for next, unless the last page was read.
    request: Option<ListDeploymentsRequest>,
}

impl Pages {
    /// The pages of what the request asks for, from its own page token on. Its page size is replaced.
    pub fn new(connection: &Connection, request: ListDeploymentsRequest) -> Self {
        let request = ListDeploymentsRequest { page_size: PAGE_SIZE, ..request };
        Self { connection: connection.clone(), request: Some(request) }
    }

    /// The next page; none after the last one, or after an error.
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
