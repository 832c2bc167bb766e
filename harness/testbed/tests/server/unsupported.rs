//! What another version of the server has stored is kept, shown and not enforced.

use std::fs;

use replica_count_api::proto::{self, DeploymentState, EnforcementMode, Kind};
use replica_count_testbed::control_plane::Scope;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::fixture::{Fixture, options, shared};

/// The entries of another version, in the order of targets. NAMESPACE stands for the namespace.
const ENTRIES: [&str; 3] = [
    r#"{"name": "floor",  "namespace": "NAMESPACE", "replicas": 5, "generation": 7, "floor": {"count": 2,
        "from": "18:00"}}"#,
    r#"{"namespace":"NAMESPACE","name":"rollout","kind":"Rollout","replicas":5}"#,
    r#"{"name":"warn","namespace":"NAMESPACE","replicas":5,"enforcement":"warn","setBy":"zoë"}"#,
];

/// A server whose file has these entries, and one for the Deployment `web`.
async fn server() -> Fixture<'static> {
    let control_plane = shared().await;
    let namespace = control_plane.namespace("unsupported").await.unwrap();
    for name in ["floor", "warn", "web"] {
        control_plane.deployment(&namespace, name, 1).await.unwrap();
    }
    let options = options(control_plane, &Scope::Cluster, &[]).await;
    let web = r#"{"name":"web","namespace":"NAMESPACE","replicas":3}"#;
    let [floor, rollout, warn] = ENTRIES;
    let file = format!("[{rollout},\n{web},\n\n  {warn}, {floor}]").replace("NAMESPACE", &namespace);
    fs::write(options.store(), file).unwrap();
    Fixture::start(control_plane, namespace, options).await
}

impl Fixture<'_> {
    /// All rows, and the size of a page. 0: one page.
    async fn rows(&mut self, page_size: i32) -> Vec<proto::DeploymentsReplicaConfig> {
        let kinds = vec![Kind::Deployment.into(), Kind::StatefulSet.into()];
        let (mut rows, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = proto::ListDeploymentsRequest {
                namespace: self.namespace.clone(),
                include_unmanaged: true,
                kinds: kinds.clone(),
                page_size,
                page_token,
                ..Default::default()
            };
            let page = self.client.list_deployments(request).await.unwrap().into_inner();
            rows.extend(page.deployments_replica_config);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return rows;
            }
        }
    }

    /// The number of entries that are not supported, as a metric.
    async fn unsupported(&self) -> u32 {
        let metrics = self.manager.metrics().await.unwrap();
        let name = "replica_count_manager_store_unsupported_entries ";
        metrics.lines().find_map(|line| line.strip_prefix(name)).unwrap().parse().unwrap()
    }

    /// Checks that the file has these entries, and those for the others.
    fn check_kept(&self, entries: &[&str]) {
        let file = fs::read_to_string(self.options.store()).unwrap();
        for entry in ENTRIES {
            let is_kept = file.contains(&entry.replace("NAMESPACE", &self.namespace));
            assert_eq!(is_kept, entries.contains(&entry), "{file}");
        }
    }

    async fn delete(&mut self, name: &str, other_kind: &str) -> Result<(), Status> {
        let request = proto::DeleteDeploymentRequest {
            name: name.to_owned(),
            namespace: self.namespace.clone(),
            other_kind: other_kind.to_owned(),
            ..Default::default()
        };
        let answer = self.client.delete_deployment(request).await?.into_inner();
        assert_eq!((answer.old_replicas, &*answer.other_kind), (None, other_kind));
        Ok(())
    }
}

#[track_caller]
fn check_refused<T: std::fmt::Debug>(answer: Result<T, Status>, code: Code, reason: &str) {
    let status = answer.expect_err("refused");
    assert_eq!(status.code(), code, "{status}");
    assert_eq!(status.get_details_error_info().unwrap().reason, reason, "{status}");
}

#[tokio::test]
async fn it_is_shown_with_the_reason_and_not_enforced() {
    let mut fixture = server().await;
    fixture.wait_for_count("web", 3).await;
    let answer = fixture.get("floor").await.unwrap();
    assert_eq!((answer.state(), answer.generation), (DeploymentState::Unsupported, 7));
    assert_eq!((answer.desired_replicas, answer.current_replicas), (None, Some(1)));
    assert_eq!(answer.state_reason, r#"this version does not know the key "floor""#);
    let request = proto::GetDeploymentRequest {
        name: "rollout".to_owned(),
        namespace: fixture.namespace.clone(),
        other_kind: "Rollout".to_owned(),
        ..Default::default()
    };
    let answer = fixture.client.get_deployment(request.clone()).await.unwrap().into_inner();
    assert_eq!((answer.state(), &*answer.other_kind), (DeploymentState::Unsupported, "Rollout"));
    assert_eq!((answer.desired_replicas, answer.current_replicas, answer.generation), (None, None, 1));
    let missing = proto::GetDeploymentRequest { other_kind: "Job".to_owned(), ..request.clone() };
    check_refused(fixture.client.get_deployment(missing).await, Code::NotFound, "DEPLOYMENT_NOT_MANAGED");
    let known = proto::GetDeploymentRequest { other_kind: "Deployment".to_owned(), ..request };
    check_refused(fixture.client.get_deployment(known).await, Code::InvalidArgument, "INVALID_FIELD");

    let rows = fixture.rows(0).await;
    let shown: Vec<_> = rows.iter().map(|row| (&*row.name, row.state(), row.replicas)).collect();
    let unsupported = DeploymentState::Unsupported;
    let web = ("web", DeploymentState::InSync, Some(3));
    assert_eq!(
        shown,
        [("floor", unsupported, None), ("rollout", unsupported, None), ("warn", unsupported, None), web]
    );
    assert_eq!((&*rows[1].other_kind, &*rows[2].other_kind), ("Rollout", ""));
    assert_eq!(rows[2].state_reason, r#"this version does not know the enforcement "warn""#);
    for page_size in 1..4 {
        assert_eq!(fixture.rows(page_size).await, rows, "{page_size} in a page");
    }

    // A new server would have enforced them by now.
    fixture.scale("web", 4).await;
    fixture.wait_for_count("web", 3).await;
    assert_eq!((fixture.count("floor").await, fixture.count("warn").await), (Some(1), Some(1)));
    assert_eq!(fixture.unsupported().await, 3);
    let log = fixture.manager.log();
    assert_eq!(
        log.iter().filter(|line| line.contains("stored and kept, but not enforced")).count(),
        3,
        "{log:#?}"
    );
}

#[tokio::test]
async fn it_survives_changes_of_others_and_restarts() {
    let mut fixture = server().await;
    fixture.set("web", 2).await;
    fixture.check_kept(&ENTRIES);
    let mut fixture = fixture.restart(async |_| {}).await;
    assert_eq!(fixture.unsupported().await, 3);
    fixture.delete_setting("web").await;
    fixture.check_kept(&ENTRIES);
}

#[tokio::test]
async fn deleting_and_replacing_are_the_ways_out() {
    let mut fixture = server().await;
    let refused = (Code::FailedPrecondition, "ENTRY_UNSUPPORTED");
    let set = fixture.set_request("floor", 2);
    check_refused(fixture.client.set_deployment(set.clone()).await, refused.0, refused.1);
    let dry_run = proto::SetDeploymentRequest { dry_run: true, ..set.clone() };
    check_refused(fixture.client.set_deployment(dry_run).await, refused.0, refused.1);
    let request = proto::SetEnforcementRequest {
        name: "floor".to_owned(),
        namespace: fixture.namespace.clone(),
        mode: EnforcementMode::Ignore.into(),
        ..Default::default()
    };
    check_refused(fixture.client.set_enforcement(request).await, refused.0, refused.1);
    fixture.check_kept(&ENTRIES);

    let replace = proto::SetDeploymentRequest { replace_unknown: true, ..set };
    let stale = proto::SetDeploymentRequest { expected_generation: Some(6), ..replace.clone() };
    check_refused(fixture.client.set_deployment(stale).await, Code::Aborted, "GENERATION_MISMATCH");
    let answer = fixture.client.set_deployment(replace).await.unwrap().into_inner();
    assert_eq!((answer.old_replicas, answer.generation), (Some(1), 8));
    fixture.check_kept(&ENTRIES[1..]);
    fixture.wait_for_count("floor", 2).await;

    fixture.delete("rollout", "Rollout").await.unwrap();
    check_refused(fixture.delete("rollout", "Rollout").await, Code::NotFound, "DEPLOYMENT_NOT_MANAGED");
    fixture.check_kept(&ENTRIES[2..]);
    fixture.delete("warn", "").await.unwrap();
    fixture.check_kept(&[]);
    assert_eq!(fixture.get("warn").await.unwrap().state(), DeploymentState::Unmanaged);
    assert_eq!(fixture.unsupported().await, 0);

    let mut fixture = fixture.restart(async |_| {}).await;
    let rows: Vec<_> = fixture.rows(0).await.into_iter().map(|row| (row.name, row.replicas)).collect();
    assert_eq!(rows, [("floor", Some(2)), ("warn", None), ("web", Some(3))].map(|(n, r)| (n.to_owned(), r)));
}
