//! Tests of the server as a child process, on which its own tests rely.

use std::path::PathBuf;

use replica_count_api::proto::{GetDeploymentRequest, SetDeploymentRequest};
use replica_count_testbed::control_plane::Scope;
use replica_count_testbed::{ControlPlane, Manager, Options, manager};

#[tokio::test]
async fn the_server_can_be_started_called_killed_and_terminated() {
    let testbed = PathBuf::from(env!("CARGO_BIN_EXE_testbed"));
    let control_plane = ControlPlane::start(Options::new(testbed.clone())).await.unwrap();
    let namespace = control_plane.namespace("child").await.unwrap();
    control_plane.deployment(&namespace, "web", 1).await.unwrap();
    let kubeconfig = control_plane.manager_kubeconfig(&Scope::Cluster).await.unwrap();
    let options =
        manager::Options::new(testbed, &kubeconfig, &control_plane.folder("server").unwrap()).unwrap();

    let mut first = Manager::start(&options).await.unwrap();
    first.wait_ready().await.unwrap();
    assert!(first.log().iter().any(|line| line.contains("listening")));
    assert!(first.metrics().await.unwrap().contains("# TYPE"));
    assert_eq!(first.get("/livez").await.unwrap().0, 200);
    first.certificates().issue("alice", &["ops"]).unwrap();
    let set = SetDeploymentRequest {
        name: "web".to_owned(),
        namespace: namespace.clone(),
        replicas: Some(2),
        ..SetDeploymentRequest::default()
    };
    first.client_as("alice").await.unwrap().set_deployment(set).await.unwrap();
    let pid = first.pid();
    first.kill().unwrap();
    assert!(!PathBuf::from(format!("/proc/{pid}")).exists());

    // The same options find the same store and the same certificates.
    let mut second = Manager::start(&options).await.unwrap();
    second.wait_ready().await.unwrap();
    let get = GetDeploymentRequest { name: "web".to_owned(), namespace, ..GetDeploymentRequest::default() };
    let got = second.client().await.unwrap().get_deployment(get).await.unwrap().into_inner();
    assert_eq!((got.desired_replicas, got.set_by.as_str()), (Some(2), "alice"));
    assert!(second.terminate().await.unwrap().success());

    let (status, log) =
        Manager::start_expecting_failure(&options.argument("--max-replicas").argument("many")).await.unwrap();
    assert_eq!(status.code(), Some(64));
    assert!(log.iter().any(|line| line.contains("many")), "{log:?}");
}
