//! A namespace with a guard, and a client that sees the warnings of the API server.

use http::header::{ACCEPT, CONTENT_TYPE, WARNING};
use http_body_util::BodyExt as _;
use kube::Client;
use kube::client::Body;
use replica_count_testbed::ControlPlane;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::fixture::{eventually, shared};

pub(super) const JSON_PATCH: &str = "application/json-patch+json";
pub(super) const MERGE_PATCH: &str = "application/merge-patch+json";

/// The guard's name. All tests share its policies, which do nothing in a namespace without a guard.
const NAME: &str = "replica-count-manager";
const AUTHOR: &str = "shop-team";
const REASON: &str = "spring sale";
const ADVICE: &str = "ask";

/// An answer of the API server.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Value,
    pub(super) warnings: Vec<String>,
}

impl Answer {
    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The message of a refusal.
    pub(super) fn message(&self) -> String {
        self.body["message"].as_str().unwrap_or_default().to_owned()
    }

    /// Whether its only warning is this sentence of the guard.
    pub(super) fn is_warning(&self, sentence: &str) -> bool {
        let policy = "'replica-count-manager-warn' with binding 'replica-count-manager-warn'";
        let expected = format!("Validation failed for ValidatingAdmissionPolicy {policy}: {sentence}");
        self.warnings == [expected]
    }
}

/// A namespace on the shared control plane.
pub(super) struct Guarded {
    pub(super) namespace: String,
    /// Whether this API server can correct counts.
    pub(super) corrects: bool,
    client: Client,
}

impl Guarded {
    pub(super) async fn new() -> Self {
        static CORRECTS: OnceCell<bool> = OnceCell::const_new();
        let control_plane = shared().await;
        let corrects = *CORRECTS.get_or_init(|| install(control_plane)).await;
        Self::on(control_plane, corrects).await
    }

    async fn on(control_plane: &ControlPlane, corrects: bool) -> Self {
        let namespace = control_plane.namespace("guarded").await.unwrap();
        Self { namespace, corrects, client: control_plane.admin().await.unwrap() }
    }

    /// Sends a request about a resource of `apps/v1`.
    pub(super) async fn send(
        &self,
        method: &str,
        kind: &str,
        path: &str,
        content_type: &str,
        body: &Value,
    ) -> Answer {
        let path = format!("/apis/apps/v1/namespaces/{}/{kind}{path}", self.namespace);
        self.send_to(method, &path, content_type, body).await
    }

    async fn send_to(&self, method: &str, path: &str, content_type: &str, body: &Value) -> Answer {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, content_type);
        let (head, body) =
            self.client.send(request.body(Body::from(body)).unwrap()).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let warnings = head.headers.get_all(WARNING).iter().map(|warning| text(warning.to_str().unwrap()));
        Answer {
            status: head.status.as_u16(),
            warnings: warnings.collect(),
            body: serde_json::from_slice(&body).unwrap(),
        }
    }

    pub(super) async fn create(&self, kind: &str, name: &str, count: i64) {
        let body = workload(kind, name, Some(count));
        let answer = self.send("POST", kind, "", "application/json", &body).await;
        assert!(answer.is_success(), "{answer:?}");
    }

    /// Deletes a workload, if it is there.
    pub(super) async fn delete(&self, kind: &str, name: &str) {
        let path = format!("/{name}");
        self.send("DELETE", kind, &path, "application/json", &Value::Null).await;
        assert_eq!(self.get(kind, name).await.status, 404);
    }

    pub(super) async fn get(&self, kind: &str, name: &str) -> Answer {
        self.send("GET", kind, &format!("/{name}"), "application/json", &Value::Null).await
    }

    pub(super) async fn count(&self, kind: &str, name: &str) -> i64 {
        self.get(kind, name).await.body["spec"]["replicas"].as_i64().unwrap()
    }

    pub(super) async fn scale(&self, kind: &str, name: &str, count: i64) -> Answer {
        let body = json!({ "spec": { "replicas": count } });
        self.send("PATCH", kind, &format!("/{name}/scale"), MERGE_PATCH, &body).await
    }

    /// The field managers that own the count.
    pub(super) async fn owners(&self, kind: &str, name: &str) -> Vec<String> {
        let object = self.get(kind, name).await.body;
        let entries = object["metadata"]["managedFields"].as_array().unwrap();
        let owns = |entry: &&Value| entry["fieldsV1"]["f:spec"].get("f:replicas").is_some();
        entries.iter().filter(owns).map(|entry| entry["manager"].as_str().unwrap().to_owned()).collect()
    }

    /// Keeps these counts, for every kind, and waits until all policies know them.
    pub(super) async fn keep(&self, mode: &str, counts: &[(&str, i64)]) {
        let counts: Vec<_> = counts.iter().copied().chain([("probe", 4)]).collect();
        self.write(mode, &counts).await;
        eventually("the guard is in force", async || {
            let create = workload("deployments", "probe", Some(5));
            let created = self.send("POST", "deployments", "?dryRun=All", "application/json", &create).await;
            let corrected = created.body["spec"]["replicas"] == 4;
            let warned = !created.warnings.is_empty();
            let is_in_force = match mode {
                "correct" => corrected && self.is_in_force(&["correct"]).await,
                "deny" => {
                    (if self.corrects { corrected } else { warned }) && self.is_in_force(&["deny"]).await
                }
                _ => warned,
            };
            if is_in_force { Ok(()) } else { Err(created) }
        })
        .await;
    }

    /// Whether these policies react to a scale of `probe`, which is made for this and removed again.
    async fn is_in_force(&self, policies: &[&str]) -> bool {
        self.create("deployments", "probe", 4).await;
        let body = json!({ "spec": { "replicas": 5 } });
        let answer = self.send("PATCH", "deployments", "/probe/scale?dryRun=All", MERGE_PATCH, &body).await;
        self.delete("deployments", "probe").await;
        policies.iter().all(|policy| match *policy {
            "deny" => answer.status == 403,
            _ => answer.body["spec"]["replicas"] == 4 && !answer.warnings.is_empty(),
        })
    }

    /// Writes these counts, for every kind.
    pub(super) async fn write(&self, mode: &str, counts: &[(&str, i64)]) {
        let kept = |count: i64| json!({ "replicas": count, "setBy": AUTHOR, "reason": REASON });
        let entries = super::KINDS.iter().flat_map(|kind| {
            counts.iter().map(move |(name, count)| (format!("{kind}/{name}"), kept(*count)))
        });
        let entries: serde_json::Map<_, _> = entries.collect();
        self.write_spec(json!({ "mode": mode, "how": ADVICE, "counts": entries })).await;
    }

    pub(super) async fn write_spec(&self, spec: Value) {
        let answer = self.try_write_spec(spec).await;
        assert!(answer.is_success(), "{answer:?}");
    }

    pub(super) async fn try_write_spec(&self, mut spec: Value) -> Answer {
        if spec["how"].is_null() {
            spec.as_object_mut().unwrap().remove("how");
        }
        let body = json!({
            "apiVersion": "replicacount.dev/v1alpha1",
            "kind": "ReplicaGuard",
            "metadata": { "name": NAME },
            "spec": spec,
        });
        let path = format!("{}?fieldManager=guard&force=true", self.guard());
        self.send_to("PATCH", &path, "application/apply-patch+yaml", &body).await
    }

    /// Suspends the guard as its sentence says, and waits until that is in force.
    pub(super) async fn suspend(&self) {
        let body = json!({ "spec": { "suspended": true } });
        let answer = self.send_to("PATCH", &self.guard(), MERGE_PATCH, &body).await;
        assert!(answer.is_success(), "{answer:?}");
        self.until_free().await;
    }

    pub(super) async fn delete_guard(&self) {
        self.send_to("DELETE", &self.guard(), "application/json", &Value::Null).await;
        self.until_free().await;
    }

    /// Waits until no policy reacts any more.
    async fn until_free(&self) {
        eventually("the guard is not in force", async || {
            let body = workload("deployments", "probe", Some(5));
            let created = self.send("POST", "deployments", "?dryRun=All", "application/json", &body).await;
            let body = json!({ "spec": { "replicas": 6 } });
            let scaled = self.send("PATCH", "deployments", "/web/scale?dryRun=All", MERGE_PATCH, &body).await;
            let is_free = |answer: &Answer, count: i64| {
                answer.status == 404
                    || (answer.body["spec"]["replicas"] == count && answer.warnings.is_empty())
            };
            if is_free(&created, 5) && is_free(&scaled, 6) { Ok(()) } else { Err((created, scaled)) }
        })
        .await;
    }

    /// Waits until a message contains these words.
    pub(super) async fn until(&self, words: &str, message: impl AsyncFn() -> String) {
        eventually(words, async || {
            let message = message().await;
            if message.contains(words) { Ok(()) } else { Err(message) }
        })
        .await;
    }

    fn guard(&self) -> String {
        format!("/apis/replicacount.dev/v1alpha1/namespaces/{}/replicaguards/{NAME}", self.namespace)
    }
}

/// Installs the policies, and waits until they are in force: that takes longer than a change of their parameter.
async fn install(control_plane: &ControlPlane) -> bool {
    let corrects = control_plane.install_guard(NAME).await.unwrap();
    let modes: &[&str] = if corrects { &["warn", "deny", "correct"] } else { &["warn", "deny"] };
    for mode in modes {
        let guarded = Guarded::on(control_plane, corrects).await;
        guarded.keep(mode, &[]).await;
    }
    corrects
}

/// The text of a `Warning` header: `299 - "text"`.
fn text(header: &str) -> String {
    let quoted = header.split_once('"').and_then(|(_, rest)| rest.rsplit_once('"')).unwrap().0;
    quoted.replace("\\\"", "\"").replace("\\\\", "\\")
}

/// A workload of a kind.
pub(super) fn workload(kind: &str, name: &str, count: Option<i64>) -> Value {
    let labels = json!({ "app": name });
    let container = json!({ "name": "pause", "image": "registry.k8s.io/pause:3.10" });
    json!({
        "apiVersion": "apps/v1",
        "kind": if kind == "deployments" { "Deployment" } else { "StatefulSet" },
        "metadata": { "name": name },
        "spec": {
            "replicas": count,
            "selector": { "matchLabels": labels },
            "template": { "metadata": { "labels": labels }, "spec": { "containers": [container] } },
        },
    })
}
