//! Who has set a count: the user of a client certificate, a user of Kubernetes, or a name that somebody claims.

use std::collections::BTreeMap;

use kube::api::{Patch, PatchParams, PostParams};
use replica_count_api::proto::AuthorCertainty;
use replica_count_testbed::ControlPlane;
use serde_json::{Value, json};

use super::on;
use crate::fixture::{Fixture, SOMEBODY, eventually, own};

/// The user of the tests.
const ADMIN: &str = "admin";
const NAME: &str = "authors";

impl Fixture<'_> {
    /// Creates a ReplicaCount in which mallory claims to be alice. Returns its annotations; the error is what the API server
    /// says.
    async fn forge(&self, name: &str, is_dry_run: bool) -> Result<BTreeMap<String, String>, String> {
        let object = json!({
            "apiVersion": "replicacount.dev/v1alpha1",
            "kind": "ReplicaCount",
            "metadata": { "name": name, "annotations": forged("1") },
            "spec": { "replicas": 2 },
        });
        let field_manager = Some(SOMEBODY.to_owned());
        let parameters = PostParams { dry_run: is_dry_run, field_manager };
        let object = serde_json::from_value(object).unwrap();
        let created = self.objects().await.create(&parameters, &object).await;
        created
            .map(|object| object.metadata.annotations.unwrap_or_default())
            .map_err(|error| error.to_string())
    }

    async fn annotate(&self, name: &str, annotations: &Value) -> Result<(), String> {
        let parameters = PatchParams { field_manager: Some(SOMEBODY.to_owned()), ..PatchParams::default() };
        let patch = Patch::Merge(json!({ "metadata": { "annotations": annotations } }));
        let patched = self.objects().await.patch(name, &parameters, &patch).await;
        patched.map(drop).map_err(|error| error.to_string())
    }

    async fn check_author(&self, name: &str, replicas: i32, by: &str, certainty: AuthorCertainty) {
        let answer = self.wait_for(name, |answer| answer.desired_replicas == Some(replicas)).await;
        assert_eq!((answer.set_by.as_str(), answer.set_by_certainty()), (by, certainty), "{answer:?}");
    }
}

fn forged(generation: &str) -> Value {
    json!({ "replicacount.dev/set-by": "alice", "replicacount.dev/set-generation": generation })
}

/// A server beside a policy, which is in force. `None`: the API server has no such policies.
async fn beside<'a>(control_plane: &'a ControlPlane, policy: &str) -> Option<Fixture<'a>> {
    control_plane.install_replica_counts().await.unwrap();
    if !control_plane.install_author_policy(policy, NAME).await.unwrap() {
        return None;
    }
    let fixture = on(control_plane, &["--author-policy", policy]).await;
    eventually("the policy is in force", async || match fixture.forge("probe", true).await {
        Ok(annotations) if annotations["replicacount.dev/set-by"] == "alice" => Err("not yet"),
        // A policy that changes objects first has to know their kind, from the API server's own list.
        Err(error) if error.contains("There can be a delay") => Err("not yet"),
        Ok(_) | Err(_) => Ok(()),
    })
    .await;
    Some(fixture)
}

#[tokio::test]
async fn a_policy_stamps_the_user_of_kubernetes() {
    let control_plane = own().await;
    let Some(mut fixture) = beside(&control_plane, "stamp").await else { return };
    for name in ["web", "api"] {
        fixture.create(name, 1).await;
    }
    let proven = AuthorCertainty::AuthorProven;
    fixture.set("web", 3).await;
    fixture.check_author("web", 3, "client", proven).await;
    assert!(fixture.get("web").await.unwrap().set_at.is_some());
    // Others keep what is there unless they set a count.
    fixture.annotate("web", &json!({ "replicacount.dev/set-by": "mallory", "team": "a" })).await.unwrap();
    fixture.patch_object("web", json!({ "replicas": 3 })).await.unwrap();
    let annotations = fixture.object("web").await.unwrap().metadata.annotations.unwrap();
    assert_eq!((&*annotations["replicacount.dev/set-by"], &*annotations["team"]), ("client", "a"));
    fixture.patch_object("web", json!({ "replicas": 4 })).await.unwrap();
    fixture.check_author("web", 4, ADMIN, proven).await;
    assert_eq!(fixture.get("web").await.unwrap().set_at, None, "nobody has proven when");
    fixture.set("web", 5).await;
    fixture.check_author("web", 5, "client", proven).await;

    fixture.forge("api", false).await.unwrap();
    fixture.check_author("api", 2, ADMIN, proven).await;
    fixture.annotate("api", &forged("1")).await.unwrap();
    fixture.patch_object("api", json!({ "replicas": 6 })).await.unwrap();
    fixture.check_author("api", 6, ADMIN, proven).await;
    // Without any annotation before, and the status is nobody's setting.
    fixture.create("plain", 1).await;
    fixture.create_object("plain", json!({ "replicas": 2 })).await.unwrap();
    fixture.check_author("plain", 2, ADMIN, proven).await;
    fixture.wait_for_condition("plain", "InEffect", "True", "InSync").await;
    fixture.check_author("plain", 2, ADMIN, proven).await;
}

#[tokio::test]
async fn a_policy_forbids_others_to_write_who_it_was() {
    let control_plane = own().await;
    let mut fixture = beside(&control_plane, "forbid").await.unwrap();
    for name in ["web", "api"] {
        fixture.create(name, 1).await;
    }
    let (proven, claimed) = (AuthorCertainty::AuthorProven, AuthorCertainty::AuthorClaimed);
    let refused = fixture.forge("api", false).await.unwrap_err();
    assert!(refused.contains("only Replica Count Manager writes the annotations"), "{refused}");
    fixture.create_object("api", json!({ "replicas": 2 })).await.unwrap();
    fixture.check_author("api", 2, SOMEBODY, claimed).await;
    fixture.annotate("api", &forged("1")).await.unwrap_err();

    fixture.set("web", 3).await;
    fixture.check_author("web", 3, "client", proven).await;
    fixture.annotate("web", &json!({ "team": "a" })).await.unwrap();
    fixture.check_author("web", 3, "client", proven).await;
    fixture.patch_object("web", json!({ "replicas": 4 })).await.unwrap();
    fixture.check_author("web", 4, SOMEBODY, claimed).await;
    fixture.annotate("web", &forged("2")).await.unwrap_err();
    fixture.set("web", 5).await;
    fixture.check_author("web", 5, "client", proven).await;
}

#[tokio::test]
async fn without_a_policy_everything_is_a_claim() {
    let control_plane = own().await;
    let mut fixture = on(&control_plane, &[]).await;
    for name in ["web", "api"] {
        fixture.create(name, 1).await;
    }
    let claimed = AuthorCertainty::AuthorClaimed;
    fixture.forge("api", false).await.unwrap();
    fixture.check_author("api", 2, "alice", claimed).await;
    fixture.set("web", 3).await;
    fixture.check_author("web", 3, "client", claimed).await;
    assert_eq!(fixture.get("web").await.unwrap().holder, fixture.holder().await);
}
