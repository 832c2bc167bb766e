//! Every refusal of a bad request: its code, its reason, and the field.

use replica_count_api::proto::{
    DeleteDeploymentRequest, EnforcementMode, GetDeploymentRequest, ListDeploymentsRequest,
    SetDeploymentRequest, SetEnforcementRequest,
};
use replica_count_api::response;
use replica_count_testbed::manager::Client;
use tonic::{Code, Status};
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

#[tokio::test]
async fn an_invalid_field_is_named() {
    let mut fixture = Fixture::with(shared().await, &["--max-replicas", "10"]).await;
    fixture.create("web", 1).await;
    let namespace = fixture.namespace.clone();
    let (name, bad) = ("web".to_owned(), "My_App".to_owned());
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
        expected_generation: None,
        ..DeleteDeploymentRequest::default()
    };
    let get = GetDeploymentRequest { name, namespace, ..GetDeploymentRequest::default() };
    let list = ListDeploymentsRequest::default();
    let past = Some(response::timestamp("2020-01-01T00:00:00Z".parse().unwrap()));
    let no_time = Some(prost_types::Timestamp { seconds: i64::MAX, nanos: 0 });
    let not_valid = r#""My_App" is not valid"#;
    let cases = [
        (Call::Get(GetDeploymentRequest { name: bad.clone(), ..get.clone() }), "Name", not_valid),
        (Call::Get(GetDeploymentRequest { namespace: bad.clone(), ..get.clone() }), "Namespace", not_valid),
        (Call::Get(GetDeploymentRequest { name: String::new(), ..get.clone() }), "Name", "empty"),
        (Call::Get(GetDeploymentRequest { namespace: String::new(), ..get }), "Namespace", "empty"),
        (Call::Set(SetDeploymentRequest { name: bad.clone(), ..set.clone() }), "Name", not_valid),
        (Call::Set(SetDeploymentRequest { namespace: bad.clone(), ..set.clone() }), "Namespace", not_valid),
        (Call::Set(SetDeploymentRequest { replicas: None, ..set.clone() }), "Replicas", "cannot send 0"),
        (Call::Set(SetDeploymentRequest { replicas: Some(-1), ..set.clone() }), "Replicas", "-1 is negative"),
        (Call::Set(SetDeploymentRequest { replicas: Some(i32::MIN), ..set.clone() }), "Replicas", "negative"),
        (
            Call::Set(SetDeploymentRequest { replicas: Some(11), ..set.clone() }),
            "Replicas",
            "11 is more than 10",
        ),
        (
            Call::Set(SetDeploymentRequest { replicas: Some(i32::MAX), ..set.clone() }),
            "Replicas",
            "more than 10",
        ),
        (Call::Set(SetDeploymentRequest { reason: "x".repeat(1025), ..set.clone() }), "Reason", "1025 bytes"),
        (
            Call::Set(SetDeploymentRequest { expected_generation: Some(-1), ..set.clone() }),
            "ExpectedGeneration",
            "negative",
        ),
        (Call::Delete(DeleteDeploymentRequest { name: bad.clone(), ..delete.clone() }), "Name", not_valid),
        (
            Call::Delete(DeleteDeploymentRequest { expected_generation: Some(-1), ..delete }),
            "ExpectedGeneration",
            "negative",
        ),
        (Call::Enforce(SetEnforcementRequest { name: bad.clone(), ..enforce.clone() }), "Name", not_valid),
        (Call::Enforce(SetEnforcementRequest { mode: 0, ..enforce.clone() }), "Mode", "is required"),
        (Call::Enforce(SetEnforcementRequest { mode: 7, ..enforce.clone() }), "Mode", "7 is unknown"),
        (Call::Enforce(SetEnforcementRequest { mode: 1, until: past, ..enforce.clone() }), "Until", "IGNORE"),
        (Call::Enforce(SetEnforcementRequest { until: past, ..enforce.clone() }), "Until", "is over"),
        (Call::Enforce(SetEnforcementRequest { until: no_time, ..enforce.clone() }), "Until", "range"),
        (
            Call::Enforce(SetEnforcementRequest { expected_generation: Some(-1), ..enforce }),
            "ExpectedGeneration",
            "negative",
        ),
        (
            Call::List(ListDeploymentsRequest { namespace: bad.clone(), ..list.clone() }),
            "Namespace",
            not_valid,
        ),
        (Call::List(ListDeploymentsRequest { name: bad, ..list.clone() }), "Name", not_valid),
        (Call::List(ListDeploymentsRequest { page_size: -1, ..list.clone() }), "PageSize", "-1 is negative"),
        (
            Call::List(ListDeploymentsRequest { page_token: "next".into(), ..list }),
            "PageToken",
            "NextPageToken",
        ),
    ];
    for (call, field, words) in cases {
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
