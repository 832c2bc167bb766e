//! Somebody scales a managed StatefulSet, and the server restores the count.

use anyhow::{Result, ensure};
use k8s_openapi::api::apps::v1::StatefulSet;
use kube::Api;
use kube::api::PostParams;
use replica_count_api::proto::Kind;

use super::{Step, passed};
use crate::fixture::{APPS, Fixture};
use crate::table::Outcome;

pub(super) const STEP: Step = Step {
    name: "stateful-set",
    about: "drift of a StatefulSet is repaired and its author named; a missing StatefulSet: refused",
    run: |fixture| Box::pin(run(fixture)),
};

const NAME: &str = "ordered";

async fn run(fixture: &Fixture) -> Result<Outcome> {
    let api = Api::<StatefulSet>::namespaced(fixture.kubernetes.clone(), APPS);
    let mut manifest = fixture.manifest(NAME, Some(2));
    manifest["kind"] = "StatefulSet".into();
    api.create(&PostParams::default(), &serde_json::from_value(manifest)?).await?;

    let mut session = fixture.session().await?.of_kind(Kind::StatefulSet);
    session.set(NAME, 2).await?;
    session.wait_for(NAME, "its pods", |answer| answer.ready_replicas == Some(2)).await?;
    let scale = ["kubectl", "scale", "statefulset", NAME, "--namespace", APPS, "--replicas", "4"];
    fixture.programs.run(scale).await?;
    let by = session.wait_for_drift_by(NAME, "kubectl", 4).await?;
    session.wait_until_in_sync(NAME).await?;
    session.wait_for(NAME, "its pods", |answer| answer.ready_replicas == Some(2)).await?;
    let replicas = api.get(NAME).await?.spec.and_then(|spec| spec.replicas);
    ensure!(replicas == Some(2), "the count is {replicas:?}");
    // To 0 it is written in another way, so the audit log shows every right.
    session.set(NAME, 0).await?;
    session.wait_for(NAME, "no pods", |answer| answer.ready_replicas == Some(0)).await?;
    session.set_expecting_not_found("missing").await?;
    session.delete_setting(NAME).await?;
    Ok(passed(format!("repaired, by {by}")))
}
