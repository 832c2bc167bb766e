//! Calls to a server and their answers.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use replica_count_api::proto::{DeploymentsReplicaConfig, ListDeploymentsRequest};
use replica_count_client::connection::{Connection, MAX_ANSWER};
use replica_count_client::describe::describe;
use replica_count_client::dial::{Dial, DialError, Stream};
use replica_count_client::pages::{PAGE_SIZE, Pages};
use replica_count_client::{Address, Endpoint};
use tokio::io::{copy_bidirectional, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tonic::Code;
use tonic_health::ServingStatus;

use super::fixture::{Certificates, ListServer};

/// Much longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// tonic's default limit.
const DEFAULT_LIMIT: usize = 4 << 20;

/// The most that a row takes besides its name: two field numbers and two lengths.
const ROW_OVERHEAD: usize = 10;

fn row(name: String, namespace: &str) -> DeploymentsReplicaConfig {
    DeploymentsReplicaConfig { name, namespace: namespace.to_owned(), ..DeploymentsReplicaConfig::default() }
}

/// Rows of a megabyte each, so that a few of them make a long answer.
fn megabytes(count: usize) -> Vec<DeploymentsReplicaConfig> {
    (0..count).map(|_| row("x".repeat((1 << 20) - ROW_OVERHEAD), "")).collect()
}

fn endpoint(certificates: &Certificates, server: &ListServer, name: Option<&str>) -> Endpoint {
    let address = format!("localhost:{}", server.address.port()).parse().unwrap();
    Endpoint::new(&address, &certificates.files().load().unwrap(), name).unwrap()
}

async fn connect(certificates: &Certificates, server: &ListServer) -> Connection {
    endpoint(certificates, server, None).connect().await.unwrap()
}

#[tokio::test]
async fn the_longest_answer_of_a_server_is_accepted() {
    let certificates = Certificates::new();
    let check = async |count: usize, expected: Result<usize, Code>| {
        let server = ListServer::start(&certificates, megabytes(count), None).await;
        let mut client = connect(&certificates, &server).await.deployments();
        let listed = client.list_deployments(ListDeploymentsRequest::default()).await;
        let rows = listed.map(|answer| answer.into_inner().deployments_replica_config.len());
        assert_eq!(rows.map_err(|status| status.code()), expected, "{count} MiB");
    };
    const { assert!(MAX_ANSWER > DEFAULT_LIMIT) };
    check(5, Ok(5)).await;
    check(MAX_ANSWER >> 20, Ok(MAX_ANSWER >> 20)).await;
    check((MAX_ANSWER >> 20) + 1, Err(Code::OutOfRange)).await;
}

#[tokio::test]
async fn a_list_of_any_length_is_read_in_pages() {
    let certificates = Certificates::new();
    let page_size = usize::try_from(PAGE_SIZE).unwrap();
    let check = async |count: usize, expected: &[usize]| {
        let names = (0..count).map(|n| row(n.to_string(), "a")).chain([row("other".to_owned(), "b")]);
        let server = ListServer::start(&certificates, names.collect(), None).await;
        let connection = connect(&certificates, &server).await;
        let request = ListDeploymentsRequest { namespace: "a".to_owned(), ..Default::default() };
        let mut pages = Pages::new(&connection, request);
        let (mut sizes, mut names) = (Vec::new(), Vec::new());
        while let Some(page) = pages.next().await.unwrap() {
            let rows = page.deployments_replica_config;
            sizes.push(rows.len());
            assert!(expected.starts_with(&sizes), "pages of {sizes:?} rows");
            names.extend(rows.into_iter().map(|row| row.name));
        }
        assert_eq!(sizes.len(), expected.len());
        assert!(
            names.into_iter().eq((0..count).map(|n| n.to_string())),
            "{count}: a row is missing or duplicated"
        );
    };
    check(0, &[0]).await;
    check(page_size, &[page_size]).await;
    check(2 * page_size + 1, &[page_size, page_size, 1]).await;
}

#[tokio::test]
async fn health_states_are_distinguished() {
    let certificates = Certificates::new();
    let check = async |health: Option<ServingStatus>, expected: Option<&str>| {
        let server = ListServer::start(&certificates, Vec::new(), health).await;
        let result = connect(&certificates, &server).await.health().await;
        assert_eq!(result.map_err(|error| error.to_string()).err().as_deref(), expected);
    };
    check(Some(ServingStatus::Serving), None).await;
    check(Some(ServingStatus::NotServing), Some("is not ready: its log and /readyz say why")).await;
    let unknown = "does not know the service proto.DeploymentsService";
    check(Some(ServingStatus::Unknown), Some(unknown)).await;
    let not_found = "the health check failed: NotFound: service not registered";
    check(None, Some(not_found)).await;
}

#[tokio::test]
async fn connection_errors_say_why() {
    let (certificates, others) = (Certificates::new(), Certificates::new());
    let server = ListServer::start(&certificates, Vec::new(), None).await;
    let refused = async |endpoint: Endpoint| endpoint.connect().await.unwrap_err().to_string();

    let line = refused(endpoint(&certificates, &server, Some("other.example"))).await;
    let expected = "cannot connect: transport error: invalid peer certificate: certificate not valid for name \"other.example\"";
    assert!(line.starts_with(expected), "{line}");
    let line = refused(endpoint(&others, &server, None)).await;
    let expected = "cannot connect: transport error: invalid peer certificate: ";
    assert!(line.starts_with(expected), "{line}");

    let address = server.address.into();
    drop(server);
    let credentials = certificates.files().load().unwrap();
    let closed = Endpoint::new(&address, &credentials, Some("localhost")).unwrap();
    let mut client = closed.connect_lazy().deployments();
    let status = client.list_deployments(ListDeploymentsRequest::default()).await.unwrap_err();
    let line = describe("ListDeployments", &status);
    assert!(line.starts_with("ListDeployments failed: transport error: tcp connect error: "), "{line}");
}

/// Streams through a relay, which can be cut.
#[derive(Debug, Default)]
struct Relay {
    server: Option<SocketAddr>,
    dialled: Mutex<Vec<AbortHandle>>,
}

impl Dial for Relay {
    fn dial(self: Arc<Self>) -> BoxFuture<'static, Result<Box<dyn Stream>, DialError>> {
        Box::pin(async move {
            let mut server = TcpStream::connect(self.server.ok_or("there is no pod")?).await?;
            let (near, mut far) = duplex(1 << 16);
            let relay = tokio::spawn(async move { copy_bidirectional(&mut far, &mut server).await });
            self.dialled.lock().unwrap().push(relay.abort_handle());
            Ok(Box::new(near) as Box<dyn Stream>)
        })
    }
}

#[tokio::test]
async fn a_stream_that_ends_is_dialled_again() {
    let certificates = Certificates::new();
    let server = ListServer::start(&certificates, megabytes(1), None).await;
    let relay = Arc::new(Relay { server: Some(server.address), ..Relay::default() });
    let endpoint = endpoint(&certificates, &server, None).with_keep_alive(PATIENCE);
    let connection = endpoint.connect_through(relay.clone()).await.unwrap();
    let list = async || {
        let request = ListDeploymentsRequest::default();
        connection.deployments().list_deployments(request).await.map(tonic::Response::into_inner)
    };
    assert_eq!(list().await.unwrap().deployments_replica_config.len(), 1);
    relay.dialled.lock().unwrap()[0].abort();
    let again = timeout(PATIENCE, async {
        // The first call after the end may fail with it.
        while list().await.is_err() {}
    });
    again.await.expect("the next call dials");
    assert_eq!(relay.dialled.lock().unwrap().len(), 2);

    let refused = endpoint.connect_through(Arc::new(Relay::default())).await.unwrap_err();
    assert_eq!(refused.to_string(), "cannot connect: transport error: there is no pod");
}

#[tokio::test]
async fn connecting_to_a_silent_server_times_out() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: Address = silent.local_addr().unwrap().into();
    let credentials = Certificates::new().files().load().unwrap();
    let endpoint = Endpoint::new(&address, &credentials, None).unwrap();
    let endpoint = endpoint.with_timeout(Duration::from_millis(50));
    let error = timeout(PATIENCE, endpoint.connect()).await.expect("it times out").unwrap_err();
    assert_eq!(error.to_string(), "cannot connect: transport error: deadline has elapsed");
}
