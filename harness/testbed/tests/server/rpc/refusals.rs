//! Every refusal of a bad request: its code, its reason, and the field.

use replica_count_api::proto::{
    DeleteDeploymentRequest, EnforcementMode, GetDeploymentRequest, ListDeploymentsRequest,
    SetDeploymentRequest, SetEnforcementRequest,
};
use replica_count_api::response;
use replica_count_testbed::manager::Client;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

use crate::fixture::{Fixture, shared};

/// A request of any RPC.
#[derive(Clone, Debug)]
enum Call {
    List(ListDeploymentsRequest),
    Get(GetDeploymentRequest),
    Set(SetDeploymentRequest),
    Delete(DeleteDeploymentRequest),
    Enforce(SetEnforcementRequest),
}

impl Call {
    async fn make(self, client: &mut Client) -> Result<(), Status> {
        match self {
            Self::List(request) => client.list_deployments(request).await.map(drop),
            Self::Get(request) => client.get_deployment(request).await.map(drop),
            Self::Set(request) => client.set_deployment(request).await.map(drop),
            Self::Delete(request) => client.delete_deployment(request).await.map(drop),
            Self::Enforce(request) => client.set_enforcement(request).await.map(drop),
        }
    }
}

/// Makes the call, and expects a refusal whose message contains `words`.
async fn check(fixture: &mut Fixture<'_>, call: Call, code: Code, reason: &str, words: &str) -> Status {
    let status = call.clone().make(&mut fixture.client).await.expect_err(&format!("{call:?}"));
    assert_eq!(status.code(), code, "{call:?}: {status}");
    let info = status.get_details_error_info().unwrap();
    assert_eq!((info.reason.as_str(), info.domain.as_str()), (reason, "replicacount.dev"), "{call:?}");
    assert!(status.message().contains(words), "{call:?}: {status}");
    status
}

async fn check_field(fixture: &mut Fixture<'_>, call: Call, field: &str, words: &str) {
    let status = check(fixture, call.clone(), Code::InvalidArgument, "INVALID_FIELD", words).await;
    let violations = status.get_details_bad_request().unwrap().field_violations;
    let fields: Vec<_> = violations.iter().map(|violation| violation.field.as_str()).collect();
    assert_eq!(fields, [field], "{call:?}");
    assert!(violations[0].description.contains(words), "{call:?}: {}", violations[0].description);
}

/// A call, the field that is refused, and words of the message.
type Invalid = (Call, &'static str, &'static str);

/// A name that Kubernetes does not allow.
const BAD: &str = "My_App";
const NOT_VALID: &str = r#""My_App" is not valid"#;

fn invalid_gets(get: &GetDeploymentRequest) -> Vec<Invalid> {
    let bad = BAD.to_owned();
    vec![
        (Call::Get(GetDeploymentRequest { name: bad.clone(), ..get.clone() }), "Name", NOT_VALID),
        (Call::Get(GetDeploymentRequest { namespace: bad, ..get.clone() }), "Namespace", NOT_VALID),
        (Call::Get(GetDeploymentRequest { name: String::new(), ..get.clone() }), "Name", "empty"),
        (Call::Get(GetDeploymentRequest { namespace: String::new(), ..get.clone() }), "Namespace", "empty"),
        (Call::Get(GetDeploymentRequest { kind: 7, ..get.clone() }), "Kind", "7 is unknown"),
    ]
}

fn invalid_sets(set: &SetDeploymentRequest) -> Vec<Invalid> {
    let replicas = |replicas| Call::Set(SetDeploymentRequest { replicas: Some(replicas), ..set.clone() });
    let (bad, expected_generation) = (BAD.to_owned(), Some(-1));
    vec![
        (Call::Set(SetDeploymentRequest { name: bad.clone(), ..set.clone() }), "Name", NOT_VALID),
        (Call::Set(SetDeploymentRequest { namespace: bad, ..set.clone() }), "Namespace", NOT_VALID),
        (Call::Set(SetDeploymentRequest { kind: -1, ..set.clone() }), "Kind", "-1 is unknown"),
        (Call::Set(SetDeploymentRequest { replicas: None, ..set.clone() }), "Replicas", "cannot send 0"),
        (replicas(-1), "Replicas", "-1 is negative"),
        (replicas(i32::MIN), "Replicas", "negative"),
        (replicas(11), "Replicas", "11 is more than 10"),
        (replicas(i32::MAX), "Replicas", "more than 10"),
        (Call::Set(SetDeploymentRequest { reason: "x".repeat(1025), ..set.clone() }), "Reason", "1025 bytes"),
        (
            Call::Set(SetDeploymentRequest { expected_generation, ..set.clone() }),
            "ExpectedGeneration",
            "negative",
        ),
    ]
}

fn invalid_deletes(delete: &DeleteDeploymentRequest) -> Vec<Invalid> {
    let (name, expected_generation) = (BAD.to_owned(), Some(-1));
    vec![
        (Call::Delete(DeleteDeploymentRequest { name, ..delete.clone() }), "Name", NOT_VALID),
        (Call::Delete(DeleteDeploymentRequest { kind: 2, ..delete.clone() }), "Kind", "2 is unknown"),
        (
            Call::Delete(DeleteDeploymentRequest { expected_generation, ..delete.clone() }),
            "ExpectedGeneration",
            "negative",
        ),
    ]
}

fn invalid_enforcements(enforce: &SetEnforcementRequest) -> Vec<Invalid> {
    let until = |until| Call::Enforce(SetEnforcementRequest { until: Some(until), ..enforce.clone() });
    let past = response::timestamp("2020-01-01T00:00:00Z".parse().unwrap());
    let no_time = prost_types::Timestamp { seconds: i64::MAX, nanos: 0 };
    let (name, expected_generation) = (BAD.to_owned(), Some(-1));
    let enforced = SetEnforcementRequest { mode: 1, until: Some(past), ..enforce.clone() };
    vec![
        (Call::Enforce(SetEnforcementRequest { name, ..enforce.clone() }), "Name", NOT_VALID),
        (Call::Enforce(SetEnforcementRequest { kind: 2, ..enforce.clone() }), "Kind", "2 is unknown"),
        (Call::Enforce(SetEnforcementRequest { mode: 0, ..enforce.clone() }), "Mode", "is required"),
        (Call::Enforce(SetEnforcementRequest { mode: 7, ..enforce.clone() }), "Mode", "7 is unknown"),
        (Call::Enforce(enforced), "Until", "IGNORE"),
        (until(past), "Until", "is in the past"),
        (until(no_time), "Until", "range"),
        (
            Call::Enforce(SetEnforcementRequest { expected_generation, ..enforce.clone() }),
            "ExpectedGeneration",
            "negative",
        ),
    ]
}

fn invalid_lists() -> Vec<Invalid> {
    let (bad, list) = (BAD.to_owned(), ListDeploymentsRequest::default());
    vec![
        (
            Call::List(ListDeploymentsRequest { namespace: bad.clone(), ..list.clone() }),
            "Namespace",
            NOT_VALID,
        ),
        (Call::List(ListDeploymentsRequest { name: bad, ..list.clone() }), "Name", NOT_VALID),
        (Call::List(ListDeploymentsRequest { kinds: vec![0, 2], ..list.clone() }), "Kinds", "2 is unknown"),
        (Call::List(ListDeploymentsRequest { page_size: -1, ..list.clone() }), "PageSize", "-1 is negative"),
        (
            Call::List(ListDeploymentsRequest { page_token: "next".into(), ..list }),
            "PageToken",
            "NextPageToken",
        ),
    ]
}

#[tokio::test]
async fn an_invalid_field_is_named() {
    let mut fixture = Fixture::with(shared().await, &["--max-replicas", "10"]).await;
    fixture.create("web", 1).await;
    let (name, namespace) = ("web".to_owned(), fixture.namespace.clone());
    let set = fixture.set_request("web", 1);
    let enforce = SetEnforcementRequest {
        name: name.clone(),
        namespace: namespace.clone(),
        mode: EnforcementMode::Ignore.into(),
        ..SetEnforcementRequest::default()
    };
    let delete = DeleteDeploymentRequest {
        name: name.clone(),
        namespace: namespace.clone(),
        ..DeleteDeploymentRequest::default()
    };
    let get = GetDeploymentRequest { name, namespace, ..GetDeploymentRequest::default() };
    let cases = [
        invalid_gets(&get),
        invalid_sets(&set),
        invalid_deletes(&delete),
        invalid_enforcements(&enforce),
        invalid_lists(),
    ];
    for (call, field, words) in cases.into_iter().flatten() {
        check_field(&mut fixture, call, field, words).await;
    }
    assert_eq!(
        fixture.set("web", 10).await.generation,
        1,
        "nothing was stored before, and the maximum is accepted"
    );
}

#[tokio::test]
async fn missing_unmanaged_and_excluded_targets_are_refused() {
    let mut fixture = Fixture::with(shared().await, &["--exclude-namespaces", "kube-system,closed"]).await;
    fixture.create("web", 1).await;
    fixture.wait_for("web", |_| true).await;
    let namespace = fixture.namespace.clone();
    let set = |namespace: &str, name: &str| {
        Call::Set(SetDeploymentRequest {
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            replicas: Some(1),
            ..SetDeploymentRequest::default()
        })
    };
    let get = |namespace: &str, name: &str| {
        Call::Get(GetDeploymentRequest {
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            ..GetDeploymentRequest::default()
        })
    };
    let delete = |name: &str| {
        Call::Delete(DeleteDeploymentRequest {
            name: name.to_owned(),
            namespace: namespace.clone(),
            expected_generation: None,
            ..DeleteDeploymentRequest::default()
        })
    };
    let enforce = |namespace: &str, name: &str| {
        Call::Enforce(SetEnforcementRequest {
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            mode: EnforcementMode::Ignore.into(),
            ..SetEnforcementRequest::default()
        })
    };
    let ours = namespace.as_str();
    let cases = [
        (get(ours, "no"), Code::NotFound, "DEPLOYMENT_NOT_FOUND", "does not exist"),
        (get("nowhere", "web"), Code::NotFound, "DEPLOYMENT_NOT_FOUND", "nowhere/web"),
        (get("closed", "web"), Code::NotFound, "DEPLOYMENT_NOT_FOUND", "closed/web"),
        (set(ours, "no"), Code::NotFound, "DEPLOYMENT_NOT_FOUND", "AllowMissing"),
        (set("nowhere", "web"), Code::NotFound, "DEPLOYMENT_NOT_FOUND", "nowhere/web"),
        (delete("web"), Code::NotFound, "DEPLOYMENT_NOT_MANAGED", "SetDeployment first"),
        (delete("no"), Code::NotFound, "DEPLOYMENT_NOT_MANAGED", "is not managed"),
        (enforce(ours, "web"), Code::NotFound, "DEPLOYMENT_NOT_MANAGED", "is not managed"),
        (set("kube-system", "web"), Code::PermissionDenied, "NAMESPACE_EXCLUDED", "kube-system"),
        (set("closed", "web"), Code::PermissionDenied, "NAMESPACE_EXCLUDED", "--exclude-namespaces"),
        (enforce("closed", "web"), Code::PermissionDenied, "NAMESPACE_EXCLUDED", "closed"),
    ];
    for (call, code, reason, words) in cases {
        check(&mut fixture, call, code, reason, words).await;
    }
    assert!(!fixture.options.store().exists(), "nothing was stored");
}

#[tokio::test]
async fn a_far_too_long_request_is_not_read() {
    let mut fixture = Fixture::new().await;
    let request = SetDeploymentRequest { reason: "x".repeat(100_000), ..fixture.set_request("web", 1) };
    let status = fixture.client.set_deployment(request).await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange, "{status}");
    fixture.create("web", 1).await;
    fixture.set("web", 1).await;
}

#[tokio::test]
async fn a_compressed_request_is_refused_with_what_is_accepted() {
    let mut fixture = Fixture::new().await;
    for encoding in ["gzip", "deflate", "zstd", "snappy"] {
        let mut request = Request::new(ListDeploymentsRequest::default());
        request.metadata_mut().insert("grpc-encoding", encoding.parse().unwrap());
        let status = fixture.client.list_deployments(request).await.unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented, "{status}");
        assert!(status.message().contains(encoding), "{status}");
        assert_eq!(status.metadata().get("grpc-accept-encoding").unwrap(), "identity");
    }
}
