//! Requests about single ReplicaCounts, and a list for commands.

use std::time::Duration;

use http::{Method, Request, header};
use jiff::Timestamp;
use kube::Client;
use replica_count_core::own_writes::FIELD_MANAGER;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::object::{ObjectKey, ReplicaCount, SET_AT, SET_BY, SET_GENERATION};
use super::refusal::RequestError;
use super::schema::ReplicaCountStatus;
use crate::kubernetes::exchange::exchange;
use crate::kubernetes::path;

/// How long one request may take.
pub const WRITE_DEADLINE: Duration = Duration::from_secs(5);
/// The same, as the API server is told. It gives up sooner, so that its answer says so.
const SERVER_TIMEOUT: &str = "4500ms";
/// Objects in a page of a list.
const PAGE_OBJECTS: u32 = 500;
/// What the API server says, with the status 422, of a JSON patch that does not apply. What it says of objects that are not
/// valid is something else.
const NOT_APPLIED: &str = "the server rejected our request due to an error in our request";
const API_VERSION: &str = "replicacount.dev/v1alpha1";

/// Who has set a count, as it is written beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Annotations {
    /// The user. `None`: not known.
    pub set_by: Option<String>,
    /// When.
    pub set_at: Option<Timestamp>,
    /// The generation that the object has after the write.
    pub generation: u64,
}

impl Annotations {
    /// As a merge patch, which removes what is not known.
    fn to_json(&self) -> Value {
        let Self { set_by, set_at, generation } = self;
        let generation = (set_by.is_some() || set_at.is_some()).then(|| generation.to_string());
        json!({ SET_BY: set_by, SET_AT: set_at.map(|at| at.to_string()), SET_GENERATION: generation })
    }
}

/// Reads an object. `None`: it does not exist.
pub async fn get(client: &Client, key: &ObjectKey) -> Result<Option<ReplicaCount>, RequestError> {
    match send(client, Request::get(object_path(key)).body(Vec::new())).await {
        Ok(object) => Ok(Some(object)),
        Err(RequestError::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Creates an object. A conflict means that it exists.
pub async fn create(
    client: &Client,
    key: &ObjectKey,
    spec: &Value,
    annotations: &Annotations,
) -> Result<ReplicaCount, RequestError> {
    let mut annotations = annotations.to_json();
    if let Some(annotations) = annotations.as_object_mut() {
        annotations.retain(|_, value| !value.is_null());
    }
    let object = json!({
        "apiVersion": API_VERSION,
        "kind": "ReplicaCount",
        "metadata": { "name": &*key.name, "namespace": &*key.namespace, "annotations": annotations },
        "spec": spec,
    });
    let uri = format!("{}?{}", path::replica_counts(Some(&key.namespace)), parameters_of_spec());
    let request = Request::post(uri)
        .header(header::CONTENT_TYPE, "application/json")
        .body(object.to_string().into_bytes());
    send(client, request).await
}

/// Merges `spec` into an object of this version. A conflict means that it has another one.
pub async fn update(
    client: &Client,
    key: &ObjectKey,
    version: u64,
    spec: &Value,
    annotations: &Annotations,
) -> Result<ReplicaCount, RequestError> {
    let patch = json!({
        "metadata": { "resourceVersion": version.to_string(), "annotations": annotations.to_json() },
        "spec": spec,
    });
    send(client, merge(&format!("{}?{}", object_path(key), parameters_of_spec()), &patch)).await
}

/// Deletes an object with this uid and this version. A conflict means that it has others.
pub async fn delete(client: &Client, key: &ObjectKey, uid: &str, version: u64) -> Result<(), RequestError> {
    let options = json!({
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "preconditions": { "uid": uid, "resourceVersion": version.to_string() },
    });
    let request = Request::builder()
        .method(Method::DELETE)
        .uri(format!("{}?timeout={SERVER_TIMEOUT}", object_path(key)))
        .header(header::CONTENT_TYPE, "application/json")
        .body(options.to_string().into_bytes());
    send::<Value>(client, request).await.map(drop)
}

/// What becomes of the history that an object has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OldHistory {
    /// It stays as it is. A conflict means that there is none.
    Stays,
    /// It is replaced, or there is none.
    Goes,
}

/// Where the history of an object is, and where it waits while its status is replaced.
const HISTORY: &str = "/status/history";
const WAITING_HISTORY: &str = "/history";

/// Replaces the status of an object with this uid, whatever version it has. A conflict means that it has another uid.
pub async fn write_status(
    client: &Client,
    key: &ObjectKey,
    uid: &str,
    status: &ReplicaCountStatus,
    old_history: OldHistory,
) -> Result<ReplicaCount, RequestError> {
    let test = json!({ "op": "test", "path": "/metadata/uid", "value": uid });
    // It replaces the whole status, of which a merge would keep what is no longer true.
    let add = json!({ "op": "add", "path": "/status", "value": status });
    let move_history = |from: &str, path: &str| json!({ "op": "move", "from": from, "path": path });
    let patch = match old_history {
        OldHistory::Goes => json!([test, add]),
        OldHistory::Stays => {
            let (away, back) =
                (move_history(HISTORY, WAITING_HISTORY), move_history(WAITING_HISTORY, HISTORY));
            json!([test, away, add, back])
        }
    };
    let request = Request::patch(format!("{}/status?{}", object_path(key), parameters()))
        .header(header::CONTENT_TYPE, "application/json-patch+json")
        .body(patch.to_string().into_bytes());
    send(client, request).await.map_err(|error| match error {
        // Only the test of the uid and the move of the history can fail.
        RequestError::Refused(message) if message.contains(NOT_APPLIED) => RequestError::Conflict(message),
        error => error,
    })
}

/// All objects of a namespace, or of all namespaces.
pub async fn list(client: &Client, namespace: Option<&str>) -> Result<Vec<ReplicaCount>, RequestError> {
    let (mut objects, mut next) = (Vec::new(), String::new());
    loop {
        let token = percent_encoding::utf8_percent_encode(&next, percent_encoding::NON_ALPHANUMERIC);
        let uri = format!("{}?limit={PAGE_OBJECTS}&continue={token}", path::replica_counts(namespace));
        let page: Page = send(client, Request::get(uri).body(Vec::new())).await?;
        objects.extend(page.items);
        next = page.metadata.r#continue;
        if next.is_empty() {
            return Ok(objects);
        }
    }
}

#[derive(Deserialize)]
struct Page {
    items: Vec<ReplicaCount>,
    #[serde(default)]
    metadata: PageMetadata,
}

#[derive(Default, Deserialize)]
struct PageMetadata {
    #[serde(default)]
    r#continue: String,
}

fn object_path(key: &ObjectKey) -> String {
    format!("{}/{}", path::replica_counts(Some(&key.namespace)), key.name)
}

fn parameters() -> String {
    format!("fieldManager={FIELD_MANAGER}&timeout={SERVER_TIMEOUT}")
}

/// The same for what people have asked for: a field that the definition does not have is refused. Without this, the API
/// server would drop it and store the rest. (Of a status, the rest is better than nothing.)
fn parameters_of_spec() -> String {
    format!("{}&fieldValidation=Strict", parameters())
}

fn merge(uri: &str, patch: &Value) -> http::Result<Request<Vec<u8>>> {
    Request::patch(uri)
        .header(header::CONTENT_TYPE, "application/merge-patch+json")
        .body(patch.to_string().into_bytes())
}

/// Sends a request and reads the answer.
pub(in crate::kubernetes) async fn send<T: DeserializeOwned>(
    client: &Client,
    request: http::Result<Request<Vec<u8>>>,
) -> Result<T, RequestError> {
    let mut request = request.map_err(|error| RequestError::NotSent(error.to_string()))?;
    request.headers_mut().insert(header::ACCEPT, header::HeaderValue::from_static("application/json"));
    let answer = timeout(WRITE_DEADLINE, exchange(client, request)).await;
    let answer =
        answer.map_err(|_elapsed| RequestError::Unknown(format!("no answer within {WRITE_DEADLINE:?}")))?;
    let (head, body) = answer.map_err(|error| RequestError::of_silence(&error))?;
    if !head.status.is_success() {
        return Err(RequestError::of_answer(&head, &body));
    }
    serde_json::from_slice(&body).map_err(|error| RequestError::Unknown(error.to_string()))
}
