//! What metrics show of requests, repairs and single workloads.

use replica_count_api::proto::DeploymentState;

use crate::fixture::{Fixture, eventually, shared, wait_for_metric};

#[tokio::test]
async fn requests_and_repairs_are_measured() {
    let mut fixture = Fixture::new().await;
    fixture.create_managed("web", 3).await;
    fixture.scale("web", 7).await;
    fixture.wait_for_count("web", 3).await;
    wait_for_metric(&fixture.manager, "drift_repair_seconds_count 1").await;
    wait_for_metric(&fixture.manager, "queue_oldest_seconds 0.0").await;
    fixture.get("nothing").await.unwrap_err();
    let metrics = fixture.manager.metrics().await.unwrap();
    let shows = |line: &str| assert!(metrics.lines().any(|shown| shown == line), "{line}: {metrics}");
    let method = |name: &str| {
        format!("grpc_type=\"unary\",grpc_service=\"proto.DeploymentsService\",grpc_method=\"{name}\"")
    };
    shows(&format!("grpc_server_started_total{{{}}} 1", method("SetDeployment")));
    shows(&format!("grpc_server_handled_total{{{},grpc_code=\"OK\"}} 1", method("SetDeployment")));
    shows(&format!("grpc_server_handled_total{{{},grpc_code=\"NotFound\"}} 1", method("GetDeployment")));
    shows(&format!("grpc_server_handling_seconds_count{{{}}} 1", method("SetDeployment")));
    // The first count was in effect already, so this is the repair.
    let request = |verb: &str, resource: &str| {
        format!(
            "replica_count_manager_kubernetes_requests_total{{verb=\"{verb}\",resource=\"{resource}\",code=\"200\"}} "
        )
    };
    shows(&(request("update", "deployments/scale") + "1"));
    assert!(metrics.contains(&request("watch", "deployments")), "{metrics}");
}

#[tokio::test]
async fn single_workloads_are_shown_on_request() {
    let mut fixture = Fixture::new().await;
    fixture.create_managed("web", 3).await;
    assert!(
        !fixture.manager.metrics().await.unwrap().contains(&fixture.namespace),
        "names are off by default"
    );

    let arguments = ["--target-metrics", "--target-metrics-limit=1", "--enforcement=ignore"];
    let mut fixture = Fixture::with(shared().await, &arguments).await;
    fixture.create_managed("a", 3).await;
    fixture.create_managed("b", 3).await;
    fixture.scale("a", 7).await;
    fixture.wait_for_state("a", DeploymentState::Ignored).await;
    let labels = format!("kind=\"Deployment\",namespace=\"{}\",name=\"a\"", fixture.namespace);
    let expected = [
        format!("target_desired{{{labels}}} 3"),
        format!("target_current{{{labels}}} 7"),
        format!("target_info{{{labels},state=\"Ignored\"}} 1"),
        "targets_left_out 1".to_owned(),
    ];
    eventually("the first workload is shown", async || {
        let metrics = fixture.manager.metrics().await.unwrap();
        let shown: Vec<&str> = metrics
            .lines()
            .filter_map(|line| line.strip_prefix("replica_count_manager_"))
            .filter(|line| line.starts_with("target"))
            .collect();
        if shown == expected { Ok(()) } else { Err(shown.join("; ")) }
    })
    .await;
}
