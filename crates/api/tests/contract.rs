//! The wire contract: existing clients were generated from exactly these names and numbers.

use prost::Message as _;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{FileDescriptorProto, FileDescriptorSet};

fn deployments_proto() -> FileDescriptorProto {
    let set = FileDescriptorSet::decode(replica_count_api::FILE_DESCRIPTOR_SET).expect("a descriptor set");
    set.file.into_iter().find(|file| file.name() == "deployments.proto").expect("deployments.proto")
}

/// Each field of a message as `number name json_name type`, with `?` for presence and `*` for repetition.
fn fields(file: &FileDescriptorProto, message: &str) -> Vec<String> {
    let message =
        file.message_type.iter().find(|candidate| candidate.name() == message).expect("the message");
    let field = |field: &prost_types::FieldDescriptorProto| {
        let kind = match field.r#type() {
            Type::String => "string",
            Type::Int32 => "int32",
            Type::Int64 => "int64",
            Type::Bool => "bool",
            Type::Message | Type::Enum => field.type_name(),
            other => panic!("a new type in the contract: {other:?}"),
        };
        let mark = match (field.label(), field.proto3_optional()) {
            (Label::Repeated, _) => "*",
            (_, true) => "?",
            (_, false) => "",
        };
        format!("{} {} {} {kind}{mark}", field.number(), field.name(), field.json_name())
    };
    message.field.iter().map(field).collect()
}

/// Checks the first fields of a message; more may follow.
#[track_caller]
fn check(message: &str, expected: &[&str]) {
    let actual = fields(&deployments_proto(), message);
    assert!(actual.len() >= expected.len(), "{actual:?}");
    assert_eq!(actual[..expected.len()], *expected);
}

const NAME: &str = "1 Name Name string";
const NAMESPACE: &str = "2 Namespace Namespace string";

#[test]
fn lists_keep_their_fields() {
    check(
        "ListDeploymentsRequest",
        &[
            "1 Namespace Namespace string",
            "2 Name Name string",
            "3 IncludeUnmanaged IncludeUnmanaged bool",
            "4 PageSize PageSize int32",
            "5 PageToken PageToken string",
            "6 Kinds Kinds .proto.Kind*",
        ],
    );
    check(
        "DeploymentsReplicaConfig",
        &[
            NAME,
            NAMESPACE,
            "3 Replicas Replicas int32?",
            "4 CurrentReplicas CurrentReplicas int32?",
            "5 ReadyReplicas ReadyReplicas int32?",
            "6 State State .proto.DeploymentState",
            "7 Kind Kind .proto.Kind",
            "8 StateReason StateReason string",
            "9 LastFailure LastFailure .proto.Failure",
            "10 SteadyConflict SteadyConflict .proto.SteadyConflict",
            "11 OtherKind OtherKind string",
            "12 HoldUntil HoldUntil .google.protobuf.Timestamp",
            "13 ReplicasAfterwards ReplicasAfterwards int32?",
        ],
    );
    check(
        "DeploymentsReplicaConfigs",
        &["1 deploymentsReplicaConfig deploymentsReplicaConfig .proto.DeploymentsReplicaConfig*"],
    );
}

#[test]
fn requests_keep_their_fields() {
    check(
        "SetDeploymentRequest",
        &[
            NAME,
            NAMESPACE,
            "3 Replicas Replicas int32?",
            "4 ExpectedGeneration ExpectedGeneration int64?",
            "5 DryRun DryRun bool",
            "6 Reason Reason string",
            "7 AllowMissing AllowMissing bool",
            "8 AllowAutoscaled AllowAutoscaled bool",
            "9 Kind Kind .proto.Kind",
            "10 ReplaceUnknown ReplaceUnknown bool",
            "11 HoldUntil HoldUntil .google.protobuf.Timestamp",
        ],
    );
    check(
        "GetDeploymentRequest",
        &[NAME, NAMESPACE, "3 Kind Kind .proto.Kind", "4 OtherKind OtherKind string"],
    );
    check(
        "SetEnforcementRequest",
        &[
            NAME,
            NAMESPACE,
            "3 Mode Mode .proto.EnforcementMode",
            "4 Until Until .google.protobuf.Timestamp",
            "5 ExpectedGeneration ExpectedGeneration int64?",
            "6 Kind Kind .proto.Kind",
        ],
    );
}

#[test]
fn responses_keep_their_fields() {
    check(
        "GetDeploymentResponse",
        &[
            NAME,
            NAMESPACE,
            "3 CurrentReplicas CurrentReplicas int32?",
            "4 DesiredReplicas DesiredReplicas int32?",
            "5 ReadyReplicas ReadyReplicas int32?",
            "6 State State .proto.DeploymentState",
            "7 Generation Generation int64",
            "8 SetBy SetBy string",
            "9 SetAt SetAt .google.protobuf.Timestamp",
            "10 Reason Reason string",
            "11 Enforcement Enforcement .proto.EnforcementMode",
            "12 EnforcementUntil EnforcementUntil .google.protobuf.Timestamp",
            "13 LastDrift LastDrift .proto.Drift",
            "14 DriftCount DriftCount int64",
            "15 ObservedAge ObservedAge .google.protobuf.Duration",
            "16 Contest Contest .proto.Contest",
            "17 Autoscaler Autoscaler string",
            "18 Kind Kind .proto.Kind",
            "19 StateReason StateReason string",
            "20 LastFailure LastFailure .proto.Failure",
            "21 SteadyConflict SteadyConflict .proto.SteadyConflict",
            "22 OtherKind OtherKind string",
            "23 Guard Guard .proto.GuardState",
            "24 Guarded Guarded bool",
            "25 HoldUntil HoldUntil .google.protobuf.Timestamp",
            "26 ReplicasAfterwards ReplicasAfterwards int32?",
            "27 SetByCertainty SetByCertainty .proto.AuthorCertainty",
            "28 Holder Holder string",
        ],
    );
    check(
        "SetDeploymentResponse",
        &[
            NAME,
            NAMESPACE,
            "3 OldReplicas OldReplicas int32?",
            "4 NewReplicas NewReplicas int32?",
            "5 Generation Generation int64",
            "6 Kind Kind .proto.Kind",
            "7 Guarded Guarded bool",
            "8 HoldUntil HoldUntil .google.protobuf.Timestamp",
            "9 ReplicasAfterwards ReplicasAfterwards int32?",
        ],
    );
}

#[test]
fn messages_within_responses_keep_their_fields() {
    check(
        "Failure",
        &[
            "1 Reason Reason string",
            "2 Code Code int32?",
            "3 Message Message string",
            "4 Since Since .google.protobuf.Timestamp",
            "5 NextTry NextTry .google.protobuf.Timestamp",
            "6 Attempts Attempts int64",
        ],
    );
    check("Contest", &["1 By By string", "2 Until Until .google.protobuf.Timestamp"]);
    check(
        "SteadyConflict",
        &[
            "1 By By string",
            "2 Period Period .google.protobuf.Duration",
            "3 Rounds Rounds int64",
            "4 LikelyBy LikelyBy string",
        ],
    );
    check(
        "Drift",
        &[
            "1 By By string",
            "2 Operation Operation string",
            "3 Subresource Subresource string",
            "4 At At .google.protobuf.Timestamp",
            "5 From From int32?",
            "6 To To int32?",
            "7 LikelyBy LikelyBy string",
            "8 PodsLost PodsLost int32?",
        ],
    );
}

#[test]
fn events_keep_their_fields() {
    check(
        "Event",
        &[
            "1 Id Id int64",
            "2 Name Name string",
            "3 Namespace Namespace string",
            "4 Kind Kind .proto.Kind",
            "5 Type Type .proto.EventType",
            "6 At At .google.protobuf.Timestamp",
            "7 Generation Generation int64",
            "8 From From int32?",
            "9 To To int32?",
            "10 By By string",
            "11 Certainty Certainty .proto.AuthorCertainty",
            "12 Operation Operation string",
            "13 Subresource Subresource string",
            "14 Reason Reason string",
            "15 Message Message string",
            "16 Code Code int32?",
            "17 Took Took .google.protobuf.Duration",
            "18 Wait Wait .google.protobuf.Duration",
            "19 PodsLost PodsLost int32?",
            "20 Times Times int64",
            "21 Until Until .google.protobuf.Timestamp",
            "22 Autoscaler Autoscaler string",
        ],
    );
    check(
        "ListEventsRequest",
        &[
            NAME,
            NAMESPACE,
            "3 Kind Kind .proto.Kind?",
            "4 Since Since .google.protobuf.Timestamp",
            "5 Until Until .google.protobuf.Timestamp",
            "6 Types Types .proto.EventType*",
            "7 PageSize PageSize int32",
            "8 PageToken PageToken string",
        ],
    );
    check("ListEventsResponse", &["1 Events Events .proto.Event*", "2 NextPageToken NextPageToken string"]);
}

#[test]
fn streams_keep_their_fields() {
    check(
        "WatchDeploymentsRequest",
        &[
            "1 Namespace Namespace string",
            "2 Name Name string",
            "3 Kinds Kinds .proto.Kind*",
            "4 IncludeUnmanaged IncludeUnmanaged bool",
            "5 Types Types .proto.EventType*",
            "6 ResumeToken ResumeToken string",
        ],
    );
    check(
        "WatchDeploymentsResponse",
        &[
            "1 Rows Rows .proto.DeploymentsReplicaConfig*",
            "2 SnapshotComplete SnapshotComplete bool",
            "3 Event Event .proto.Event",
            "4 ResumeToken ResumeToken string",
            "5 Resumed Resumed bool",
        ],
    );
}

#[test]
fn the_service_keeps_its_methods() {
    let file = deployments_proto();
    assert_eq!(file.package(), "proto");
    let [service] = file.service.as_slice() else { panic!("one service") };
    assert_eq!(service.name(), "DeploymentsService");
    let methods: Vec<_> = service
        .method
        .iter()
        .map(|method| (method.name(), method.client_streaming() || method.server_streaming()))
        .collect();
    for method in ["ListDeployments", "GetDeployment", "SetDeployment", "ListEvents"] {
        assert!(methods.contains(&(method, false)), "{method} in {methods:?}");
    }
    assert!(methods.contains(&("WatchDeployments", true)), "{methods:?}");
}

#[test]
fn enums_keep_their_names() {
    let names = |name: &str| -> Vec<String> {
        let file = deployments_proto();
        let found = file.enum_type.iter().find(|candidate| candidate.name() == name).expect("the enum");
        found.value.iter().map(|value| format!("{} {}", value.number(), value.name())).collect()
    };
    assert_eq!(names("Kind"), ["0 DEPLOYMENT", "1 STATEFUL_SET"]);
    let guard_states = [
        "0 UNGUARDED",
        "1 GUARD_PENDING",
        "2 GUARD_SUSPENDED",
        "3 GUARD_WARNS",
        "4 GUARD_DENIES",
        "5 GUARD_CORRECTS",
    ];
    assert_eq!(names("GuardState"), guard_states);
    let event_types = [
        "0 EVENT_UNSPECIFIED",
        "1 EVENT_SET",
        "2 EVENT_DELETED",
        "3 EVENT_ENFORCED",
        "4 EVENT_IGNORED",
        "5 EVENT_DRIFTED",
        "6 EVENT_ANOTHER_SERVER",
        "7 EVENT_REPAIRED",
        "8 EVENT_APPLIED",
        "9 EVENT_RESOLVED",
        "10 EVENT_LATE_COST",
        "11 EVENT_CONTESTED",
        "12 EVENT_CALMED",
        "13 EVENT_STEADY_CONFLICT",
        "14 EVENT_STEADY_CONFLICT_ENDED",
        "15 EVENT_MISSING",
        "16 EVENT_AUTOSCALED",
        "17 EVENT_WRITE_FAILED",
        "18 EVENT_HOLD_ENDED",
    ];
    assert_eq!(names("EventType"), event_types);
    let certainties = ["0 AUTHOR_UNKNOWN", "1 AUTHOR_PROVEN", "2 AUTHOR_CLAIMED", "3 AUTHOR_SUSPECTED"];
    assert_eq!(names("AuthorCertainty"), certainties);
    assert_eq!(names("EnforcementMode"), ["0 MODE_UNSPECIFIED", "1 ENFORCE", "2 IGNORE"]);
    let states = [
        "0 UNKNOWN",
        "1 UNMANAGED",
        "2 IN_SYNC",
        "3 DRIFTED",
        "4 IGNORED",
        "5 MISSING",
        "6 OUT_OF_SCOPE",
        "7 CONTESTED",
        "8 AUTOSCALED",
        "9 UNSUPPORTED",
    ];
    assert_eq!(names("DeploymentState"), states);
}

#[test]
fn only_google_protobuf_is_imported() {
    for import in deployments_proto().dependency {
        assert!(import.starts_with("google/protobuf/"), "{import}");
    }
}
