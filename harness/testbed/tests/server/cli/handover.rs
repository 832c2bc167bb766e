//! A count is handed over to a HorizontalPodAutoscaler without a drop to 1 (kubernetes/kubernetes#25238).

use std::fs;

use kube::api::{Patch, PatchParams};
use replica_count_api::proto::DeploymentState;
use replica_count_testbed::Options;
use serde_json::{Value, json};

use super::Cli;
use crate::fixture::{Fixture, eventually, own_with, testbed};

const HANDOVER: &str = "handover web --to-hpa";

impl Cli<'_> {
    /// Runs kubectl on a manifest of `web`.
    #[track_caller]
    fn apply(&self, replicas: Option<i32>) {
        let labels = json!({ "app": "web" });
        let container = json!({ "name": "web", "image": "registry.example/web" });
        let mut manifest = json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": { "name": "web" },
            "spec": {
                "selector": { "matchLabels": labels },
                "template": { "metadata": { "labels": labels }, "spec": { "containers": [container] } },
            },
        });
        if let Some(replicas) = replicas {
            manifest["spec"]["replicas"] = replicas.into();
        }
        fs::write(self.file("web.json"), manifest.to_string()).unwrap();
        let applied = self.command("kubectl", ["apply", "-f", "web.json"]).output().unwrap();
        assert!(applied.status.success(), "{applied:?}");
    }
}

impl Fixture<'_> {
    async fn change_autoscaler(&self, subresource: Option<&str>, change: Value) {
        let (api, patch) = (self.autoscalers().await, Patch::Merge(change));
        let params = PatchParams::default();
        let patched = match subresource {
            Some(_) => api.patch_status("autoscaler", &params, &patch).await,
            None => api.patch("autoscaler", &params, &patch).await,
        };
        patched.unwrap();
    }
}

#[tokio::test]
async fn what_is_in_the_way_of_a_handover_is_named() {
    let fixture = Fixture::new().await;
    let cli = Cli::new(&fixture);
    assert_eq!(cli.run(["handover", "web"]).status, 2);
    // The server of this address might be that of another cluster.
    let elsewhere = format!("{HANDOVER} --server {}", cli.address());
    assert!(cli.fails(&elsewhere, 2).contains("the cluster of that server must be named"));
    let named = cli.fails(&format!("{elsewhere} --kubeconfig kubeconfig"), 1);
    assert!(!named.contains("must be named"), "{named}");
    fixture.create("web", 3).await;
    fixture.wait_for_state("web", DeploymentState::Unmanaged).await;
    assert!(cli.fails(HANDOVER, 1).contains("deployment.apps/web is not managed"));
    cli.ok("set web 3");
    fixture.wait_for_state("web", DeploymentState::InSync).await;
    let none = cli.fails(HANDOVER, 1);
    assert!(
        none.contains(&format!("\nCreate one: kubectl autoscale deployment/web -n {}", fixture.namespace))
    );
    fixture.autoscale("autoscaler", "web", 4).await;
    assert!(
        cli.fails(HANDOVER, 1).contains("HorizontalPodAutoscaler/autoscaler would change 3 replicas at once")
    );
    fixture.change_autoscaler(None, json!({ "spec": { "minReplicas": 2 } })).await;
    assert!(cli.fails(HANDOVER, 1).contains("it has not said yet that it is AbleToScale"));
    let condition = |name: &str| json!({ "type": name, "status": "True", "lastTransitionTime": null });
    let conditions = [condition("AbleToScale"), condition("ScalingActive")];
    let status =
        json!({ "status": { "desiredReplicas": 3, "currentReplicas": 3, "conditions": conditions } });
    fixture.change_autoscaler(Some("status"), status).await;
    let tried = cli.run([HANDOVER, "--dry-run"].join(" ").split(' '));
    let done = "deployment.apps/web handed over to HorizontalPodAutoscaler/autoscaler (its count is 3)";
    assert_eq!((tried.status, &*tried.out), (0, &*format!("{done} (server dry run)\n")), "{tried:?}");
    assert_eq!(cli.ok("get -o name"), "deployment.apps/web\n");
    let handed = cli.run(HANDOVER.split(' '));
    assert_eq!((handed.status, &*handed.out), (0, &*format!("{done}\n")), "{handed:?}");
    assert!(handed.err.starts_with("note: leave replicas out of its manifests"), "{handed:?}");
    fixture.wait_for_state("web", DeploymentState::Unmanaged).await;
}

#[tokio::test]
async fn the_kubernetes_autoscaler_takes_over_without_a_drop() {
    let control_plane = own_with(Options::new(testbed()).with_controllers()).await;
    let fixture = Fixture::with(&control_plane, &[]).await;
    let cli = Cli::new(&fixture);
    cli.apply(Some(3));
    fixture.wait_for_count("web", 3).await;
    cli.ok("set web 3");
    fixture.autoscale("autoscaler", "web", 2).await;
    fixture.wait_for_state("web", DeploymentState::Autoscaled).await;
    eventually("the autoscaler has looked", async || {
        let refused = cli.run(HANDOVER.split(' ')).err;
        if refused.contains("cannot act: ScalingActive: FailedGet") { Ok(()) } else { Err(refused) }
    })
    .await;

    // What `kubectl apply` remembers would become a drop to 1. The command that is named takes it out.
    let inactive = format!("{HANDOVER} --allow-inactive");
    let refused = cli.fails(&inactive, 1);
    let named = refused.lines().find_map(|line| line.strip_prefix("  kubectl ")).unwrap();
    let mut edit = cli.command("kubectl", named.split(' '));
    let edited = edit.env("KUBE_EDITOR", "/bin/sed -i /replicas/d").output().unwrap();
    assert!(edited.status.success(), "{edited:?}");
    let handed = cli.run(inactive.split(' '));
    assert_eq!(handed.status, 0, "{handed:?}");
    cli.apply(None);
    assert_eq!(fixture.count("web").await, Some(3));

    // Nobody contradicts the autoscaler any more.
    fixture.change_autoscaler(None, json!({ "spec": { "minReplicas": 5 } })).await;
    fixture.wait_for_count("web", 5).await;
    let answer = fixture.wait_for("web", |answer| answer.current_replicas == Some(5)).await;
    assert_eq!((answer.state(), answer.desired_replicas), (DeploymentState::Unmanaged, None));
}
