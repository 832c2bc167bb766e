//! A count under our field manager that this server did not write is another server's, and is called that.

use std::fs;

use kube::api::{Patch, PatchParams};
use replica_count_testbed::control_plane::Scope;
use serde_json::json;

use crate::fixture::{Fixture, eventually, options, shared};

const FIELD_MANAGER: &str = "replica-count-manager";
/// Part of the error in the log.
const ERROR: &str = "another replica-count-manager changes counts in this cluster";

/// How often the error is in the log.
fn errors(fixture: &Fixture<'_>) -> usize {
    fixture.manager.log().iter().filter(|line| line.contains("\"ERROR\"") && line.contains(ERROR)).count()
}

/// The drifts that another server caused, as a metric.
async fn drifts(fixture: &Fixture<'_>) -> u32 {
    let metrics = fixture.manager.metrics().await.unwrap();
    let name = "replica_count_manager_another_server_drifts_total ";
    metrics.lines().find_map(|line| line.strip_prefix(name)).unwrap().parse().unwrap()
}

async fn scale_under_our_name(fixture: &Fixture<'_>, replicas: i32) {
    let patch = Patch::Merge(json!({ "spec": { "replicas": replicas } }));
    let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    fixture.deployments.patch_scale("web", &parameters, &patch).await.unwrap();
}

#[tokio::test]
async fn two_servers_with_two_files_name_each_other() {
    let control_plane = shared().await;
    let mut first = Fixture::new().await;
    let options = options(control_plane, &Scope::Cluster, &[]).await;
    let mut second = Fixture::start(control_plane, first.namespace.clone(), options).await;
    first.create_managed("web", 3).await;
    second.set("web", 7).await;
    for fixture in [&first, &second] {
        let answer = fixture
            .wait_for("web", |answer| {
                answer.last_drift.as_ref().is_some_and(|drift| drift.by == FIELD_MANAGER)
            })
            .await;
        assert_eq!(answer.last_drift.unwrap().subresource, "scale");
        eventually("it is counted again and again", async || {
            let drifts = drifts(fixture).await;
            if drifts > 2 { Ok(()) } else { Err(drifts) }
        })
        .await;
        assert_eq!(errors(fixture), 1, "{:#?}", fixture.manager.log());
    }
}

#[tokio::test]
async fn one_write_is_enough() {
    let mut fixture = Fixture::new().await;
    fixture.create_managed("web", 3).await;
    assert_eq!(drifts(&fixture).await, 0);
    scale_under_our_name(&fixture, 7).await;
    let answer = fixture.wait_for("web", |answer| answer.drift_count == 1).await;
    assert_eq!(answer.last_drift.unwrap().by, FIELD_MANAGER);
    fixture.wait_for_count("web", 3).await;
    assert_eq!((errors(&fixture), drifts(&fixture).await), (1, 1));
}

#[tokio::test]
async fn our_own_earlier_counts_are_not_blamed_on_another() {
    let mut fixture = Fixture::new().await;
    fixture.create_managed("web", 3).await;
    for replicas in [5, 4] {
        fixture.set("web", replicas).await;
        fixture.wait_for_count("web", replicas).await;
    }
    // As if a write of an earlier setting had been slow.
    scale_under_our_name(&fixture, 5).await;
    let answer = fixture.wait_for("web", |answer| answer.drift_count == 1).await;
    assert_eq!(answer.last_drift.unwrap().by, "");
    fixture.wait_for_count("web", 4).await;
    assert_eq!((errors(&fixture), drifts(&fixture).await), (0, 0));

    // As if the server had died between storing and applying.
    let store = fixture.options.store();
    let fixture = fixture
        .restart(async |_| {
            let text = fs::read_to_string(&store).unwrap();
            fs::write(&store, text.replace("\"replicas\":4", "\"replicas\":6")).unwrap();
        })
        .await;
    fixture.wait_for_count("web", 6).await;
    assert_eq!((errors(&fixture), drifts(&fixture).await), (0, 0));
}
