//! Events of Kubernetes tell what happened, where `kubectl describe` shows it.

use std::time::Duration;

use k8s_openapi::api::events::v1::Event;
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::api::{Api, ListParams, Patch, PatchParams};
use replica_count_api::proto::DeploymentState;
use serde_json::json;
use tokio::time;

use crate::crd::with_crd;
use crate::fixture::{Fixture, eventually, own, wait_for_metric};

impl Fixture<'_> {
    /// The Events about an object with this kind.
    async fn kubernetes_events(&self, kind: &str) -> Vec<Event> {
        let events: Api<Event> = Api::namespaced(self.control_plane.admin().await.unwrap(), &self.namespace);
        let mut events = events.list(&ListParams::default()).await.unwrap().items;
        events.retain(|event| {
            event.regarding.as_ref().is_some_and(|regarding| regarding.kind.as_deref() == Some(kind))
                && event.reporting_controller.as_deref() == Some("replica-count-manager")
        });
        events.sort_by_key(|event| event.event_time.clone());
        events
    }

    /// Waits for as many Events; returns reason and text of each.
    pub(crate) async fn wait_for_events(&self, kind: &str, count: usize) -> Vec<(String, String)> {
        let events = eventually("the Events are there", async || {
            let events = self.kubernetes_events(kind).await;
            if events.len() >= count { Ok(events) } else { Err(events) }
        })
        .await;
        let told = events.into_iter().map(|event| (event.reason.unwrap(), event.note.unwrap()));
        told.collect()
    }
}

/// As texts, to compare with.
pub(crate) fn owned(told: &[(&str, &str)]) -> Vec<(String, String)> {
    told.iter().map(|(reason, text)| ((*reason).to_owned(), (*text).to_owned())).collect()
}

pub(crate) const STORY: [(&str, &str); 3] = [
    ("Set", "client set the count to 3"),
    ("Drifted", "kubectl through scale changed the count from 3 to 7"),
    ("Repaired", "Set the count back from 7 to 3"),
];

#[tokio::test]
async fn kubectl_describe_tells_the_story() {
    let mut fixture = Fixture::new().await;
    fixture.create_managed("web", 3).await;
    fixture.kubectl_scale("web", 7);
    assert_eq!(fixture.wait_for_events("Deployment", 3).await, owned(&STORY));
    let output = fixture.kubectl(["describe", "deployment", "web"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().filter_map(|line| line.split_once("replica-count-manager"));
    let lines: Vec<_> = lines.map(|(begin, note)| (begin.split_whitespace().nth(1), note.trim())).collect();
    assert_eq!(lines, STORY.map(|(reason, note)| (Some(reason), note)), "{text}");
    assert!(fixture.manager.log().iter().all(|line| !line.contains("Events of Kubernetes")));
}

#[tokio::test]
async fn a_fight_is_one_event_that_counts() {
    let mut fixture = Fixture::new().await;
    fixture.create_managed("web", 3).await;
    for drifts in 1..=20 {
        fixture.scale("web", 7).await;
        fixture
            .wait_for("web", |answer| answer.drift_count == drifts && answer.current_replicas == Some(3))
            .await;
        if drifts >= 10 && fixture.get("web").await.unwrap().state() == DeploymentState::Contested {
            break;
        }
    }
    let drifts = fixture.get("web").await.unwrap().drift_count;
    eventually("the series counts all", async || {
        let events = fixture.kubernetes_events("Deployment").await;
        let drifted: Vec<_> =
            events.iter().filter(|event| event.reason.as_deref() == Some("Drifted")).collect();
        let [drifted] = &drifted[..] else { return Err(format!("{drifted:#?}")) };
        let series = drifted.series.as_ref();
        if series.is_some_and(|series| i64::from(series.count) == drifts) {
            Ok(())
        } else {
            Err(format!("{drifts}: {series:?}"))
        }
    })
    .await;
}

#[tokio::test]
async fn a_replica_count_has_the_same_events() {
    let mut fixture = with_crd(&[]).await;
    fixture.create_managed("web", 3).await;
    fixture.kubectl_scale("web", 7);
    assert_eq!(fixture.wait_for_events("ReplicaCount", 3).await, owned(&STORY));
    assert_eq!(fixture.wait_for_events("Deployment", 3).await, owned(&STORY));
    let output = fixture.kubectl(["describe", "replicacount", "web"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("Repaired") && text.contains(STORY[1].1), "{text}");
}

#[tokio::test]
async fn without_the_right_it_says_so_once_and_repairs() {
    let control_plane = own().await;
    let mut fixture = Fixture::with(&control_plane, &[]).await;
    let roles: Api<ClusterRole> = Api::all(control_plane.admin().await.unwrap());
    let mut role = roles.get("replica-count-manager").await.unwrap();
    role.rules.as_mut().unwrap().retain(|rule| {
        rule.api_groups.as_ref().is_none_or(|groups| groups[..] != ["events.k8s.io".to_owned()])
    });
    let patch = Patch::Merge(json!({ "rules": role.rules }));
    roles.patch("replica-count-manager", &PatchParams::default(), &patch).await.unwrap();
    // The API server learns of it a little later.
    time::sleep(Duration::from_millis(500)).await;
    fixture.create_managed("web", 3).await;
    for drifts in 1..=3 {
        fixture.scale("web", 7).await;
        fixture
            .wait_for("web", |answer| answer.drift_count == drifts && answer.current_replicas == Some(3))
            .await;
    }
    wait_for_metric(&fixture.manager, "kubernetes_event_write_failures_total 1").await;
    let log = fixture.manager.log();
    let lines = log.iter().filter(|line| line.contains("Events of Kubernetes cannot be written"));
    assert_eq!(lines.count(), 1, "{log:#?}");
    assert_eq!(fixture.kubernetes_events("Deployment").await.len(), 0);
}

#[tokio::test]
async fn they_can_be_switched_off() {
    let control_plane = crate::fixture::shared().await;
    let mut fixture = Fixture::with(control_plane, &["--kubernetes-events=false"]).await;
    fixture.create_managed("web", 3).await;
    fixture.kubectl_scale("web", 7);
    fixture.wait_for_count("web", 3).await;
    time::sleep(Duration::from_secs(1)).await;
    assert_eq!(fixture.kubernetes_events("Deployment").await.len(), 0);
}
