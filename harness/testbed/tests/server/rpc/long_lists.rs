//! A list of as many settings as the store takes.

use std::fs;

use prost::Message as _;
use replica_count_api::proto::ListDeploymentsRequest;
use replica_count_client::Endpoint;
use replica_count_client::connection::MAX_ANSWER;
use replica_count_client::pages::Pages;
use replica_count_testbed::Manager;
use replica_count_testbed::manager::SERVER_NAME;
use serde_json::json;

use crate::standalone::Standalone;

/// With names as long as names may be, these fill the settings file: 32 MiB.
const SETTINGS: usize = 90_000;

#[tokio::test(flavor = "multi_thread")]
async fn the_longest_list_of_settings_is_read_at_once_and_in_pages() {
    let standalone = Standalone::new();
    let options = standalone.options(&[]);
    let namespace = "n".repeat(63);
    let setting = |n| json!({ "name": format!("{n:0>253}"), "namespace": namespace, "replicas": 1000 });
    let settings: Vec<_> = (0..SETTINGS).map(setting).collect();
    fs::write(options.store(), serde_json::to_vec(&settings).unwrap()).unwrap();
    let manager = Manager::start(&options).await.unwrap();
    let credentials = manager.certificates().files("client").load().unwrap();
    let endpoint = Endpoint::new(&manager.grpc_address().into(), &credentials, Some(SERVER_NAME)).unwrap();
    let connection = endpoint.connect().await.unwrap();

    let request = ListDeploymentsRequest::default();
    let all = connection.deployments().list_deployments(request.clone()).await.unwrap().into_inner();
    assert!(all.encoded_len() > MAX_ANSWER * 8 / 10, "{} bytes", all.encoded_len());
    let mut rows = all.deployments_replica_config.iter();
    let mut pages = Pages::new(&connection, request);
    while let Some(page) = pages.next().await.unwrap() {
        for row in &page.deployments_replica_config {
            assert_eq!(Some(row), rows.next());
        }
    }
    assert_eq!(rows.len(), 0);
}
