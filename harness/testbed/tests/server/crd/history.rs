//! What happened is in the status of the objects: all servers know it, also after restarts and handovers.

use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use replica_count_api::proto::{self, EventType};
use replica_count_testbed::manager::Client;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use tonic_types::StatusExt as _;

use super::election::{another, two};
use super::with_crd;
use crate::fixture::{Fixture, eventually, own, wait_for_metric};
use crate::history::{Stream, check_drifted, next};

/// What a drift and its repair leave, newest first.
const STORY: [EventType; 3] = [EventType::EventRepaired, EventType::EventDrifted, EventType::EventSet];

impl Fixture<'_> {
    /// How many events the object of `web` has.
    async fn told(&self) -> usize {
        let object = self.object("web").await.unwrap();
        object.data["status"]["history"].as_array().map_or(0, Vec::len)
    }

    async fn wait_until_told(&self, lines: usize) {
        eventually("the events are in the status", async || match self.told().await {
            told if told >= lines => Ok(()),
            told => Err(told),
        })
        .await;
    }

    /// What a server knows of `web`, newest first.
    async fn events_of(&self, client: &Client) -> Vec<proto::Event> {
        let request = proto::ListEventsRequest {
            name: "web".to_owned(),
            namespace: self.namespace.clone(),
            ..Default::default()
        };
        client.clone().list_events(request).await.unwrap().into_inner().events
    }

    /// Watches the namespace on a server; returns the stream, whether it was resumed, and its token.
    async fn watch_on(&self, client: &Client, token: &str) -> (Stream, bool, String) {
        let request = proto::WatchDeploymentsRequest {
            namespace: self.namespace.clone(),
            resume_token: token.to_owned(),
            ..Default::default()
        };
        let mut stream = client.clone().watch_deployments(request).await.unwrap().into_inner();
        let first = stream.message().await.unwrap().unwrap();
        assert!(first.snapshot_complete && first.resumed == first.rows.is_empty(), "{first:?}");
        (stream, first.resumed, first.resume_token)
    }
}

fn types(events: &[proto::Event]) -> Vec<EventType> {
    events
        .iter()
        .map(proto::Event::r#type)
        .filter(|event_type| *event_type != EventType::EventApplied)
        .collect()
}

#[tokio::test]
async fn it_is_known_after_a_kill() {
    let mut fixture = with_crd(&[]).await;
    fixture.create_managed("web", 3).await;
    fixture.drift(7, 3).await;
    let before = fixture.events(&[]).await;
    assert_eq!(types(&before), STORY);
    check_drifted(&before[1]);
    fixture.wait_until_told(before.len()).await;
    let object = fixture.object("web").await.unwrap();
    let lines = object.data["status"]["history"].to_string().len();
    println!(
        "an object of {} bytes, of which the {} events of a set, a drift and its repair take {lines}",
        serde_json::to_string(&object).unwrap().len(),
        before.len()
    );

    let fixture = fixture.restart(async |_| ()).await;
    eventually("the history is read", async || {
        let events = fixture.events(&[]).await;
        if events == before { Ok(()) } else { Err(events) }
    })
    .await;
    let mut fixture = fixture;
    let answer = fixture.get("web").await.unwrap();
    assert_eq!((answer.drift_count, &*answer.last_drift.unwrap().by), (1, "kubectl"));
    wait_for_metric(&fixture.manager, "leader 1").await;
    fixture.drift(8, 3).await;
    eventually("the second drift is counted", async || {
        let drifts = fixture.events(&[EventType::EventDrifted]).await;
        let times: Vec<_> = drifts.iter().map(|drift| drift.times).collect();
        if times == [2, 1] && drifts[0].id > before[0].id { Ok(()) } else { Err(drifts) }
    })
    .await;
}

#[tokio::test]
async fn a_status_without_a_new_event_keeps_what_it_has() {
    let mut fixture = with_crd(&[]).await;
    fixture.create_managed("web", 3).await;
    fixture.wait_for_condition("web", "InEffect", "True", "InSync").await;
    fixture.wait_until_told(1).await;
    let status = fixture.object("web").await.unwrap().data["status"].clone();
    let mut lines = status["history"].as_array().unwrap().clone();
    lines.insert(0, json!("what memory does not have"));
    let patch = Patch::Merge(json!({ "status": { "current": 99, "history": lines } }));
    fixture.objects().await.patch_status("web", &PatchParams::default(), &patch).await.unwrap();
    let status = eventually("the status is right again", async || {
        let status = fixture.object("web").await.unwrap().data["status"].clone();
        if status["current"] == 3 { Ok(status) } else { Err(status) }
    })
    .await;
    assert_eq!(status["history"], json!(lines));
}

#[tokio::test]
async fn a_follower_tells_what_the_holder_has_seen() {
    let (mut fixture, follower) = two().await;
    let client = follower.client().await.unwrap();
    fixture.create_managed("web", 3).await;
    fixture.wait_until_told(1).await;
    let (mut there, ..) = fixture.watch_on(&client, "").await;
    let (mut here, ..) = fixture.watch_on(&fixture.client.clone(), "").await;
    let mut lags = Vec::new();
    for count in [7, 8, 9] {
        fixture.scale_by_kubectl(count);
        for expected in [EventType::EventDrifted, EventType::EventRepaired] {
            let event = next(&mut here).await;
            let seen = Instant::now();
            assert_eq!(event.r#type(), expected);
            // The id, the author and all the rest.
            assert_eq!(next(&mut there).await, event);
            lags.push(seen.elapsed());
            if (count, expected) == (7, EventType::EventDrifted) {
                check_drifted(&event);
            }
        }
        // The next status may be written.
        sleep(Duration::from_secs(5)).await;
    }
    println!("how much later a follower tells it: {lags:?}");
    let events = fixture.events_of(&client).await;
    assert_eq!(events, fixture.events(&[]).await);
    assert_eq!(types(&events)[..STORY.len() - 1], STORY[..STORY.len() - 1]);

    // Deleted: each server sees that for itself, and once.
    fixture.delete_setting("web").await;
    for stream in [&mut here, &mut there] {
        assert_eq!(next(stream).await.r#type(), EventType::EventDeleted);
    }
    fixture.set("web", 4).await;
    for stream in [&mut here, &mut there] {
        let set = next(stream).await;
        assert_eq!((set.r#type(), &*set.by, set.to), (EventType::EventSet, "client", Some(4)));
    }
}

#[tokio::test]
async fn a_stream_goes_on_with_another_server_after_a_handover() {
    let (mut fixture, follower) = two().await;
    fixture.create_managed("web", 3).await;
    let (mut stream, resumed, _) = fixture.watch_on(&fixture.client.clone(), "").await;
    assert!(!resumed);
    fixture.drift(7, 3).await;
    let drifted = next(&mut stream).await;
    check_drifted(&drifted);
    let message = stream.message().await.unwrap().unwrap();
    let (repaired, token) = (message.event.unwrap(), message.resume_token);
    fixture.wait_until_told(3).await;

    // The other one goes on where this one ends.
    let client = follower.client().await.unwrap();
    let ended = tokio::spawn(async move { stream.message().await });
    std::mem::replace(&mut fixture.manager, follower).terminate().await.unwrap();
    let status = ended.await.unwrap().unwrap_err();
    let last = status.get_details_error_info().unwrap().metadata["ResumeToken"].clone();
    wait_for_metric(&fixture.manager, "leader 1").await;
    fixture.scale_by_kubectl(9);
    for token in [&token, &last] {
        let (mut stream, resumed, _) = fixture.watch_on(&client, token).await;
        assert!(resumed, "{token}");
        let event = next(&mut stream).await;
        assert_eq!((event.r#type(), event.to, event.times), (EventType::EventDrifted, Some(9), 2));
        assert!(event.id > repaired.id, "{event:?}");
    }
    let events = fixture.events_of(&client).await;
    let known: Vec<_> = events.iter().filter(|event| event.id <= repaired.id).map(|event| event.id).collect();
    assert!(known.starts_with(&[repaired.id, drifted.id]), "{events:?}");

    // A server that has not seen all of it says so.
    let third = another(&fixture).await;
    let (_, resumed, _) = fixture.watch_on(&third.client().await.unwrap(), &token).await;
    assert!(!resumed);
}

#[tokio::test]
async fn a_stream_is_not_resumed_across_a_deletion_that_no_server_saw() {
    let mut fixture = with_crd(&[]).await;
    for name in ["web", "gone"] {
        fixture.create_managed(name, 3).await;
        fixture.wait_for_condition(name, "InEffect", "True", "InSync").await;
    }
    fixture.wait_until_told(1).await;
    // What is left is older than the token.
    let version = async || fixture.object("web").await.unwrap().metadata.resource_version;
    let mut settled = version().await;
    eventually("the status is settled", async || {
        sleep(Duration::from_secs(6)).await;
        let now = version().await;
        if std::mem::replace(&mut settled, now.clone()) == now { Ok(()) } else { Err(now) }
    })
    .await;
    let (stream, _, token) = fixture.watch_on(&fixture.client.clone(), "").await;
    drop(stream);
    let objects = fixture.objects().await;
    let fixture = fixture
        .restart(async |_| {
            objects.delete("gone", &DeleteParams::default()).await.unwrap();
        })
        .await;
    let (_, resumed, _) = fixture.watch_on(&fixture.client.clone(), &token).await;
    assert!(!resumed, "{token}");
}

#[tokio::test]
async fn what_happens_while_nobody_holds_the_lease_is_told_by_the_next_one() {
    let (mut fixture, follower) = two().await;
    fixture.create_managed("web", 3).await;
    fixture.wait_until_told(1).await;
    let client = follower.client().await.unwrap();
    std::mem::replace(&mut fixture.manager, follower).kill().unwrap();
    client.clone().set_deployment(fixture.set_request("web", 6)).await.unwrap();
    let events = eventually("it is told", async || {
        let events = fixture.events_of(&client).await;
        let is_told = events.iter().any(|event| event.to == Some(6) && event.r#type() == EventType::EventSet);
        if is_told { Ok(events) } else { Err(events) }
    })
    .await;
    let sets: Vec<_> = events.iter().filter(|event| event.r#type() == EventType::EventSet).collect();
    assert_eq!(sets.iter().map(|set| set.to).collect::<Vec<_>>(), [Some(6), Some(3)]);
    assert_eq!(sets[0].by, "client");
}

#[tokio::test]
async fn a_definition_without_a_history_is_written_to_as_before() {
    let control_plane = own().await;
    control_plane.install_replica_counts().await.unwrap();
    let definitions: Api<CustomResourceDefinition> = Api::all(control_plane.admin().await.unwrap());
    let mut definition = definitions.get("replicacounts.replicacount.dev").await.unwrap();
    let schema = "/spec/versions/0/schema/openAPIV3Schema/properties/status/properties";
    let mut json = serde_json::to_value(&definition).unwrap();
    json.pointer_mut(schema).and_then(Value::as_object_mut).unwrap().remove("history").unwrap();
    definition = serde_json::from_value(json).unwrap();
    definitions.replace("replicacounts.replicacount.dev", &PostParams::default(), &definition).await.unwrap();

    let mut fixture = super::on(&control_plane, &[]).await;
    fixture.create_managed("web", 3).await;
    fixture.drift(7, 3).await;
    fixture.wait_for_condition("web", "InEffect", "True", "InSync").await;
    let object = eventually("the status has the drift", async || {
        let object = fixture.object("web").await.unwrap();
        if object.data["status"]["lastDrift"]["to"] == 7 { Ok(object) } else { Err(object.data) }
    })
    .await;
    assert_eq!(object.data["status"]["history"], json!(null));
    sleep(Duration::from_secs(12)).await;
    let later = fixture.object("web").await.unwrap();
    assert_eq!(later.metadata.resource_version, object.metadata.resource_version, "written again and again");
    let log = fixture.manager.log();
    let lines = log.iter().filter(|line| line.contains("has no status.history"));
    assert_eq!(lines.count(), 1, "{log:#?}");
    assert_eq!(fixture.events(&[EventType::EventDrifted]).await.len(), 1);
}
