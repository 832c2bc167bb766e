//! The guard's policies by themselves, without a server: what the API server does with writes of another count.

mod client;

use serde_json::{Value, json};

use client::{Answer, Guarded, JSON_PATCH, MERGE_PATCH, workload};

/// The kinds of workloads, as the names of their resources.
const KINDS: [&str; 2] = ["deployments", "statefulsets"];

/// What the policies say about a count of 3 that has an author and a reason.
const SENTENCE: &str = "the count of web is kept at 3 (set by shop-team: spring sale); to change it: ask; to suspend the \
    guard in an emergency: kubectl patch replicaguard replica-count-manager -n NAMESPACE --type=merge -p \
    '{\"spec\":{\"suspended\":true}}'";

/// A write of a workload named `web`.
struct Write {
    what: &'static str,
    send: fn(&'static str) -> Request,
    /// What it makes of a count of 3 where nothing is kept.
    count: i64,
}

/// A request, with the path below the workload's resource.
struct Request {
    method: &'static str,
    path: &'static str,
    content_type: &'static str,
    body: Value,
}

impl Request {
    fn patch(path: &'static str, content_type: &'static str, body: Value) -> Self {
        Self { method: "PATCH", path, content_type, body }
    }
}

/// Updates of the count, in all ways.
const UPDATES: [Write; 9] = [
    Write { what: "scale", send: |_| scale(Some(7)), count: 7 },
    Write { what: "scale to 0", send: |_| scale(Some(0)), count: 0 },
    Write { what: "scale to null", send: |_| scale(None), count: 0 },
    Write { what: "patch", send: |_| patch(Some(7)), count: 7 },
    Write { what: "patch to 0", send: |_| patch(Some(0)), count: 0 },
    Write { what: "patch to null", send: |_| patch(None), count: 1 },
    Write {
        what: "removal of the count",
        send: |_| Request::patch("/web", JSON_PATCH, json!([{ "op": "remove", "path": "/spec/replicas" }])),
        count: 1,
    },
    Write {
        what: "forced apply",
        send: |kind| {
            let path = "/web?fieldManager=somebody&force=true";
            Request::patch(path, "application/apply-patch+yaml", workload(kind, "web", Some(7)))
        },
        count: 7,
    },
    Write {
        what: "replacement",
        send: |kind| Request {
            method: "PUT",
            path: "/web",
            content_type: "application/json",
            body: workload(kind, "web", Some(7)),
        },
        count: 7,
    },
];

/// Creations, in all ways.
const CREATIONS: [Write; 4] = [
    Write { what: "creation", send: |kind| creation(kind, Some(7)), count: 7 },
    Write { what: "creation with 0", send: |kind| creation(kind, Some(0)), count: 0 },
    Write { what: "creation without a count", send: |kind| creation(kind, None), count: 1 },
    Write {
        what: "creation by apply",
        send: |kind| {
            let path = "/web?fieldManager=somebody";
            Request::patch(path, "application/apply-patch+yaml", workload(kind, "web", Some(7)))
        },
        count: 7,
    },
];

fn scale(count: Option<i64>) -> Request {
    Request::patch("/web/scale", MERGE_PATCH, json!({ "spec": { "replicas": count } }))
}

fn patch(count: Option<i64>) -> Request {
    Request::patch("/web", MERGE_PATCH, json!({ "spec": { "replicas": count } }))
}

fn creation(kind: &str, count: Option<i64>) -> Request {
    let body = workload(kind, "web", count);
    Request { method: "POST", path: "", content_type: "application/json", body }
}

/// Sends a write to a new `web` with 3 replicas, or to a deleted one.
async fn write(guarded: &Guarded, kind: &'static str, write: &Write) -> Answer {
    guarded.delete(kind, "web").await;
    let request = (write.send)(kind);
    let is_creation = CREATIONS.iter().any(|creation| creation.what == write.what);
    if !is_creation {
        guarded.create(kind, "web", 3).await;
    }
    guarded.send(request.method, kind, request.path, request.content_type, &request.body).await
}

fn sentence(guarded: &Guarded) -> String {
    SENTENCE.replace("NAMESPACE", &guarded.namespace)
}

#[tokio::test]
async fn a_wrong_count_is_corrected_however_it_is_written() {
    let guarded = Guarded::new().await;
    if !guarded.corrects {
        println!("this API server has no MutatingAdmissionPolicy: not tested");
        return;
    }
    guarded.keep("correct", &[("web", 3)]).await;
    for kind in KINDS {
        for case in UPDATES.iter().chain(&CREATIONS) {
            let answer = write(&guarded, kind, case).await;
            let what = format!("{} of {kind}: {answer:?}", case.what);
            assert!(answer.is_success(), "{what}");
            assert_eq!(answer.body["spec"]["replicas"], 3, "{what}");
            assert_eq!(guarded.count(kind, "web").await, 3, "{what}");
            // Of other writes, only the corrected object is seen.
            let is_told = case.what.starts_with("scale");
            assert_eq!(answer.is_warning(&sentence(&guarded)), is_told, "{what}");
        }
    }
}

#[tokio::test]
async fn zero_is_kept_as_any_other_count() {
    let guarded = Guarded::new().await;
    if !guarded.corrects {
        println!("this API server has no MutatingAdmissionPolicy: not tested");
        return;
    }
    guarded.create("deployments", "web", 3).await;
    guarded.keep("correct", &[("web", 0)]).await;
    for request in [scale(Some(2)), patch(None), scale(Some(0)), patch(Some(5))] {
        let answer = guarded.send("PATCH", "deployments", request.path, MERGE_PATCH, &request.body).await;
        assert!(answer.is_success(), "{answer:?}");
        assert_eq!(guarded.count("deployments", "web").await, 0, "{answer:?}");
    }
}

#[tokio::test]
async fn a_wrong_count_is_refused_with_the_author_and_the_reason() {
    let guarded = Guarded::new().await;
    guarded.keep("deny", &[("web", 3)]).await;
    for kind in KINDS {
        for case in &UPDATES {
            let answer = write(&guarded, kind, case).await;
            let what = format!("{} of {kind}: {answer:?}", case.what);
            assert_eq!(answer.status, 403, "{what}");
            assert_eq!(answer.body["reason"], "Forbidden", "{what}");
            let policy = "'replica-count-manager-deny' with binding 'replica-count-manager-deny'";
            let expected = format!(
                "{kind}.apps \"web\" is forbidden: ValidatingAdmissionPolicy {policy} denied request: {}",
                sentence(&guarded)
            );
            assert_eq!(answer.body["message"], expected, "{what}");
            assert_eq!(guarded.count(kind, "web").await, 3, "{what}");
        }
    }
}

#[tokio::test]
async fn a_creation_is_never_refused_but_corrected_or_commented() {
    let guarded = Guarded::new().await;
    guarded.keep("deny", &[("web", 3)]).await;
    for kind in KINDS {
        for case in &CREATIONS {
            let answer = write(&guarded, kind, case).await;
            let what = format!("{} of {kind}: {answer:?}", case.what);
            let expected = if guarded.corrects { 3 } else { case.count };
            assert!(answer.is_success(), "{what}");
            assert_eq!(guarded.count(kind, "web").await, expected, "{what}");
            assert_eq!(answer.is_warning(&sentence(&guarded)), !guarded.corrects, "{what}");
        }
    }
}

#[tokio::test]
async fn a_wrong_count_is_commented() {
    let guarded = Guarded::new().await;
    guarded.keep("warn", &[("web", 3)]).await;
    for kind in KINDS {
        for case in UPDATES.iter().chain(&CREATIONS) {
            let answer = write(&guarded, kind, case).await;
            let what = format!("{} of {kind}: {answer:?}", case.what);
            assert!(answer.is_success(), "{what}");
            assert_eq!(guarded.count(kind, "web").await, case.count, "{what}");
            assert!(answer.is_warning(&sentence(&guarded)), "{what}");
        }
    }
}

#[tokio::test]
async fn a_count_that_is_wrong_already_is_in_nobodys_way() {
    for mode in ["deny", "warn"] {
        let guarded = Guarded::new().await;
        guarded.create("deployments", "web", 5).await;
        guarded.keep(mode, &[("web", 3)]).await;
        let image = json!([{ "op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "pause:9" }]);
        for (path, content_type, body) in [
            ("/web", JSON_PATCH, &image),
            ("/web", MERGE_PATCH, &patch(Some(5)).body),
            ("/web/scale", MERGE_PATCH, &scale(Some(5)).body),
            // The kept one.
            ("/web/scale", MERGE_PATCH, &scale(Some(3)).body),
        ] {
            let answer = guarded.send("PATCH", "deployments", path, content_type, body).await;
            assert!(
                answer.is_success() && answer.warnings.is_empty(),
                "{mode}: {body} at {path}: {answer:?}"
            );
        }
        assert_eq!(guarded.count("deployments", "web").await, 3);
    }
}

#[tokio::test]
async fn what_is_not_kept_is_free() {
    for mode in ["warn", "deny", "correct"] {
        let guarded = Guarded::new().await;
        guarded.create("deployments", "web", 3).await;
        guarded.create("deployments", "other", 3).await;
        let check = async |what: &str, name: &str| {
            let path = format!("/{name}/scale");
            let answer = guarded.send("PATCH", "deployments", &path, MERGE_PATCH, &scale(Some(7)).body).await;
            assert!(answer.is_success() && answer.warnings.is_empty(), "{mode}, {what}: {answer:?}");
            assert_eq!(guarded.count("deployments", name).await, 7, "{mode}, {what}");
            assert!(guarded.scale("deployments", name, 3).await.is_success());
        };
        check("without a guard", "web").await;
        if mode != "correct" || guarded.corrects {
            guarded.keep(mode, &[("web", 3)]).await;
        } else {
            guarded.write(mode, &[("web", 3)]).await;
        }
        check("with another name", "other").await;
        let nameless = json!({ "generateName": "web-" });
        let mut body = workload("deployments", "web", Some(7));
        body["metadata"] = nameless;
        let answer = guarded.send("POST", "deployments", "", "application/json", &body).await;
        assert!(answer.is_success() && answer.warnings.is_empty(), "{mode}, without a name: {answer:?}");
        assert_eq!(answer.body["spec"]["replicas"], 7, "{mode}, without a name");
        guarded.suspend().await;
        check("suspended", "web").await;
        guarded.delete_guard().await;
        check("after the guard", "web").await;
    }
}

#[tokio::test]
async fn the_sentence_reads_well_without_author_reason_or_advice() {
    let guarded = Guarded::new().await;
    guarded.create("deployments", "web", 3).await;
    for (kept, how, expected) in [
        (json!({ "replicas": 3 }), None, "the count of web is kept at 3; to suspend the guard"),
        (json!({ "replicas": 3, "setBy": "a" }), None, "is kept at 3 (set by a); to suspend"),
        (json!({ "replicas": 3, "reason": "b" }), Some("c"), "is kept at 3 (b); to change it: c; to suspend"),
    ] {
        guarded
            .write_spec(json!({ "mode": "deny", "how": how, "counts": { "deployments/web": kept } }))
            .await;
        // One that comes too early is stored, and the same count again would then be left as it is.
        let scale = async || guarded.scale("deployments", "web", fastrand::i64(5..1_000)).await.message();
        guarded.until(expected, scale).await;
    }
}

#[tokio::test]
async fn the_guard_writes_for_whoever_sends_an_empty_patch() {
    let guarded = Guarded::new().await;
    if !guarded.corrects {
        println!("this API server has no MutatingAdmissionPolicy: not tested");
        return;
    }
    for (counts, by_apply) in
        [((3, 5), true), ((3, 0), true), ((0, 5), true), ((3, 5), false), ((3, 0), false)]
    {
        let (from, to) = counts;
        guarded.delete_guard().await;
        guarded.delete("deployments", "web").await;
        if by_apply {
            let path = "/web?fieldManager=helm";
            let body = workload("deployments", "web", Some(from));
            let answer =
                guarded.send("PATCH", "deployments", path, "application/apply-patch+yaml", &body).await;
            assert!(answer.is_success(), "{answer:?}");
        } else {
            guarded.create("deployments", "web", from).await;
        }
        guarded.keep("correct", &[("web", to)]).await;
        let uid = guarded.get("deployments", "web").await.body["metadata"]["uid"].clone();
        let wrong = json!([{ "op": "test", "path": "/metadata/uid", "value": "another" }]);
        assert_eq!(guarded.send("PATCH", "deployments", "/web/scale", JSON_PATCH, &wrong).await.status, 422);
        assert_eq!(guarded.count("deployments", "web").await, from);

        let body = json!([{ "op": "test", "path": "/metadata/uid", "value": uid }]);
        let answer = guarded.send("PATCH", "deployments", "/web/scale", JSON_PATCH, &body).await;
        assert!(answer.is_success(), "{answer:?}");
        // A Scale of 0 has no such field.
        assert_eq!(answer.body["spec"]["replicas"].as_i64().unwrap_or(0), to, "{answer:?}");
        assert_eq!(guarded.count("deployments", "web").await, to);
        // Who applied the count still owns it. Any other owner loses it with the next write of anybody.
        let note = json!({ "metadata": { "annotations": { "note": "x" } } });
        let answer =
            guarded.send("PATCH", "deployments", "/web?fieldManager=other", MERGE_PATCH, &note).await;
        assert!(answer.is_success(), "{answer:?}");
        let expected: &[&str] = if by_apply { &["helm"] } else { &[] };
        assert_eq!(guarded.owners("deployments", "web").await, expected, "{counts:?}, {by_apply}");
    }
}

#[tokio::test]
async fn a_guard_has_limits() {
    let guarded = Guarded::new().await;
    let many: serde_json::Map<_, _> =
        (0..=5_000).map(|n| (format!("deployments/a{n}"), json!({ "replicas": 1 }))).collect();
    for (what, spec) in [
        ("an unknown mode", json!({ "mode": "stop" })),
        ("no mode", json!({ "counts": {} })),
        ("a negative count", json!({ "mode": "warn", "counts": { "deployments/web": { "replicas": -1 } } })),
        (
            "a count that is too large",
            json!({ "mode": "warn", "counts": { "deployments/web": { "replicas": 1i64 << 31 } } }),
        ),
        ("no count", json!({ "mode": "warn", "counts": { "deployments/web": {} } })),
        ("too many counts", json!({ "mode": "warn", "counts": many })),
        (
            "a long author",
            json!({ "mode": "warn", "counts": { "deployments/web": { "replicas": 1, "setBy": "a".repeat(257) } } }),
        ),
        ("a long advice", json!({ "mode": "warn", "how": "a".repeat(513) })),
    ] {
        let answer = guarded.try_write_spec(spec).await;
        assert_eq!(answer.status, 422, "{what}: {answer:?}");
    }
    let answer = guarded
        .try_write_spec(json!({ "mode": "warn", "counts": { "deployments/web": { "replicas": 0 } } }))
        .await;
    assert!(answer.is_success(), "{answer:?}");
    assert_eq!(answer.body["spec"]["suspended"], false);
    // Atomic: one field, however many counts.
    assert_eq!(
        answer.body["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"]["f:counts"],
        json!({}),
        "{answer:?}"
    );
}
