//! The status of objects: right, rarely written, and never a loop.

use std::time::Duration;

use kube::api::{Patch, PatchParams};
use serde_json::json;
use tokio::time;

use super::with_crd;
use crate::fixture::{SOMEBODY, eventually};

#[tokio::test]
async fn the_status_says_what_happened() {
    let mut fixture = with_crd(&["--author-policy", "forbid"]).await;
    fixture.create_managed("web", 3).await;
    fixture.wait_for_condition("web", "InEffect", "True", "InSync").await;
    fixture.scale("web", 7).await;
    let status = eventually("the status has the drift", async || {
        let status = fixture.object("web").await.unwrap().data["status"].clone();
        if status["lastDrift"]["to"] == 7 { Ok(status) } else { Err(status) }
    })
    .await;
    assert_eq!(status["lastDrift"]["by"], SOMEBODY);
    assert_eq!(
        (&status["lastDrift"]["subresource"], &status["lastDrift"]["from"]),
        (&json!("scale"), &json!(3))
    );
    assert_eq!(status["target"], "Deployment/web");
    assert_eq!((&status["setBy"], &status["observedGeneration"]), (&json!("client"), &json!(1)));
    eventually("the status is that after the repair", async || {
        let status = fixture.object("web").await.unwrap().data["status"].clone();
        if status["state"] == "InSync" && status["current"] == 3 { Ok(()) } else { Err(status) }
    })
    .await;

    // A temporary count, by somebody who has proven nothing.
    fixture.create("api", 1).await;
    let temporary = json!({ "replicas": 9, "until": "2036-01-01T00:00:00Z" });
    fixture.create_object("api", json!({ "replicas": 2, "temporary": temporary })).await.unwrap();
    eventually("the status of the other one is written", async || {
        let status = fixture.object("api").await.unwrap().data["status"].clone();
        if status["state"] == "InSync" && status["current"] == 9 { Ok(()) } else { Err(status) }
    })
    .await;
    for arguments in [&["get", "replicacounts"][..], &["get", "replicacounts", "--output=wide"]] {
        println!("{}", String::from_utf8(fixture.kubectl(arguments).stdout).unwrap());
    }

    let shown = fixture.kubectl(["get", "rcount"]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    let words: Vec<Vec<&str>> = shown.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(words[0], ["NAME", "TARGET", "DESIRED", "CURRENT", "STATE", "BY", "AGE"]);
    let claimed = ["api", "Deployment/api", "9", "9", "InSync", SOMEBODY, "(claimed)"];
    assert_eq!(words[1][..7], claimed);
    assert_eq!(words[2][..6], ["web", "Deployment/web", "3", "3", "InSync", "client"]);
    let explained = fixture.kubectl(["explain", "replicacount.spec"]);
    let explained = String::from_utf8(explained.stdout).unwrap();
    assert!(explained.contains("enforcementUntil") && explained.contains("cannot change."), "{explained}");
}

#[tokio::test]
async fn a_fight_writes_few_statuses() {
    let mut fixture = with_crd(&[]).await;
    fixture.create_managed("web", 3).await;
    fixture.wait_for_condition("web", "InEffect", "True", "InSync").await;
    let version = async || fixture.object("web").await.unwrap().metadata.resource_version.unwrap();
    let (mut versions, mut last, started) = (0, version().await, time::Instant::now());
    let mut next = 0;
    while started.elapsed() < Duration::from_secs(12) {
        next += 1;
        fixture.scale("web", 4 + next % 5).await;
        let now = version().await;
        versions += u32::from(now != last);
        last = now;
        time::sleep(Duration::from_millis(20)).await;
    }
    println!("{next} drifts in 12 s changed the object {versions} times");
    assert!((1..=4).contains(&versions), "{versions} writes in 12 s");
    // And then there is nothing to write.
    eventually("it is quiet", async || {
        let before = version().await;
        time::sleep(Duration::from_secs(6)).await;
        if version().await == before { Ok(()) } else { Err("still written") }
    })
    .await;
}

#[tokio::test]
async fn a_foreign_status_is_replaced_without_a_loop() {
    let mut fixture = with_crd(&[]).await;
    fixture.create_managed("web", 3).await;
    fixture.wait_for_condition("web", "InEffect", "True", "InSync").await;
    let patch = Patch::Merge(json!({ "status": { "state": "Wrong", "current": 99 } }));
    fixture.objects().await.patch_status("web", &PatchParams::default(), &patch).await.unwrap();
    eventually("the status is right again", async || {
        let status = fixture.object("web").await.unwrap().data["status"].clone();
        if status["state"] == "InSync" && status["current"] == 3 { Ok(()) } else { Err(status) }
    })
    .await;
    let read = fixture.get("web").await.unwrap();
    assert_eq!((read.generation, read.desired_replicas), (1, Some(3)));
}
