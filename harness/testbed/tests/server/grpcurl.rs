//! The API through the client of the README, and with the proto files that clients have.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use replica_count_testbed::workspace;
use serde_json::{Value, json};

use crate::fixture::{Fixture, eventually};

/// The documented command, exactly as users have it.
const LINE: &str = r#"
grpcurl \
  -cacert certificates/ca/ca.crt \
  -cert certificates/client/client.crt \
  -key certificates/client/client.key \
  -d '{"Namespace": "my-app-namespace"}' \
  -proto proto/deployments.proto \
  localhost:8080 \
  proto.DeploymentsService.ListDeployments
"#;

/// grpcurl exits with this plus the gRPC code.
const STATUS_BASE: i32 = 64;

/// How grpcurl gets the schema.
#[derive(Clone, Copy)]
enum Schema {
    /// The file of this repository.
    Current,
    /// The file of the first clients.
    Original,
    /// The server's reflection.
    Reflection,
}

impl Schema {
    fn flags(self) -> &'static [&'static str] {
        match self {
            Self::Current => &["-proto", "proto/deployments.proto"],
            Self::Original => &["-proto", "tests/original.proto"],
            Self::Reflection => &[],
        }
    }
}

/// A folder as users have it, with `certificates` and `proto`.
struct Grpcurl<'a> {
    fixture: &'a Fixture<'static>,
    folder: PathBuf,
}

impl<'a> Grpcurl<'a> {
    fn new(fixture: &'a Fixture<'static>) -> Self {
        let folder = fixture.control_plane.folder("client").unwrap();
        let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/proto");
        symlink(fixture.manager.certificates().folder(), folder.join("certificates")).unwrap();
        symlink(workspace::root().unwrap().join("proto"), folder.join("proto")).unwrap();
        symlink(tests, folder.join("tests")).unwrap();
        Self { fixture, folder }
    }

    /// Runs a shell command with grpcurl on PATH.
    fn shell(&self, line: &str) -> Output {
        let program = self.fixture.control_plane.grpcurl().unwrap();
        let mut command = Command::new("/bin/sh");
        command.args(["-c", line]).current_dir(&self.folder);
        command.env_clear().env("PATH", program.parent().unwrap()).output().unwrap()
    }

    /// Runs grpcurl with the usual TLS flags, `flags` before the address and `words` after it.
    fn run(&self, flags: &[&str], words: &[&str]) -> Output {
        let program = self.fixture.control_plane.grpcurl().unwrap();
        let mut command = Command::new(program);
        command.current_dir(&self.folder).env_clear();
        command.args(["-cacert", "certificates/ca/ca.crt"]);
        command.args(["-cert", "certificates/client/client.crt", "-key", "certificates/client/client.key"]);
        command.args(flags).arg(self.address()).args(words).output().unwrap()
    }

    fn address(&self) -> String {
        format!("localhost:{}", self.fixture.manager.grpc_address().port())
    }

    fn call(&self, schema: Schema, method: &str, request: &Value) -> Output {
        let request = request.to_string();
        let flags = [&["-d", &request], schema.flags()].concat();
        self.run(&flags, &[method])
    }

    #[track_caller]
    fn check(&self, schema: Schema, method: &str, request: &Value, expected: &Value) {
        let answer = answer(&self.call(schema, &format!("proto.DeploymentsService/{method}"), request));
        assert_eq!(answer, *expected, "{method} {request}");
    }
}

#[track_caller]
fn answer(output: &Output) -> Value {
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
async fn the_command_of_the_readme_works_verbatim() {
    let mut fixture = Fixture::new().await;
    fixture.control_plane.create_namespace("my-app-namespace").await.unwrap();
    let empty = Grpcurl::new(&fixture);
    let line = LINE.replace("localhost:8080", &empty.address());
    assert_eq!(answer(&empty.shell(&line)), json!({}));

    fixture.control_plane.deployment("my-app-namespace", "web", 2).await.unwrap();
    let mut request = fixture.set_request("web", 3);
    "my-app-namespace".clone_into(&mut request.namespace);
    fixture.client.set_deployment(request).await.unwrap();
    let expected = json!({ "deploymentsReplicaConfig": [{
        "Name": "web", "Namespace": "my-app-namespace", "Replicas": 3, "CurrentReplicas": 3, "ReadyReplicas": 0,
        "State": "IN_SYNC",
    }] });
    let grpcurl = Grpcurl::new(&fixture);
    eventually("the command shows the Deployment in sync", async || {
        let shown = answer(&grpcurl.shell(&line));
        if shown == expected { Ok(()) } else { Err(shown) }
    })
    .await;
}

/// Calls every RPC, with the field names of the README.
async fn check_every_rpc(schema: Schema) {
    let fixture = Fixture::new().await;
    fixture.create("web", 2).await;
    let grpcurl = Grpcurl::new(&fixture);
    let namespace = fixture.namespace.as_str();
    let of = |mut rest: Value| {
        rest["Name"] = "web".into();
        rest["Namespace"] = namespace.into();
        rest
    };
    let web = of(json!({}));
    let set = of(json!({ "Replicas": 0, "Reason": "night" }));
    grpcurl.check(
        schema,
        "SetDeployment",
        &set,
        &of(json!({ "OldReplicas": 2, "NewReplicas": 0, "Generation": "1" })),
    );
    fixture.wait_for_count("web", 0).await;
    let got = fixture.wait_for("web", |answer| answer.current_replicas == Some(0)).await;
    let set_at = got.set_at.unwrap();
    let set_at = jiff::Timestamp::new(set_at.seconds, set_at.nanos).unwrap();
    let mut answer = answer(&grpcurl.call(schema, "proto.DeploymentsService/GetDeployment", &web));
    let shown: jiff::Timestamp = answer["SetAt"].take().as_str().unwrap().parse().unwrap();
    assert_eq!(shown, set_at);
    let expected = of(json!({
        "CurrentReplicas": 0, "DesiredReplicas": 0, "ReadyReplicas": 0, "State": "IN_SYNC", "Generation": "1",
        "SetBy": "client", "SetByCertainty": "AUTHOR_PROVEN", "SetAt": null, "Reason": "night", "Enforcement": "ENFORCE",
    }));
    assert_eq!(answer, expected);
    let row = of(json!({ "Replicas": 0, "CurrentReplicas": 0, "ReadyReplicas": 0, "State": "IN_SYNC" }));
    let rows = json!({ "deploymentsReplicaConfig": [row] });
    grpcurl.check(schema, "ListDeployments", &json!({ "Namespace": namespace }), &rows);
    let ignore = of(json!({ "Mode": "IGNORE", "Until": "2100-01-01T00:00:00Z" }));
    let ignored = of(json!({ "Mode": "IGNORE", "Until": "2100-01-01T00:00:00Z", "Generation": "2" }));
    grpcurl.check(schema, "SetEnforcement", &ignore, &ignored);
    let sets = of(json!({ "Types": ["EVENT_SET"], "Since": set_at.to_string() }));
    let events = grpcurl.call(schema, "proto.DeploymentsService/ListEvents", &sets);
    let events: Value = serde_json::from_slice(&events.stdout).unwrap();
    let id = events["Events"][0]["Id"].clone();
    let event = of(json!({
        "Id": id, "Type": "EVENT_SET", "At": set_at.to_string(), "Generation": "1", "To": 0, "By": "client",
        "Certainty": "AUTHOR_PROVEN", "Reason": "night",
    }));
    assert_eq!(events, json!({ "Events": [event] }));
    grpcurl.check(schema, "DeleteDeployment", &web, &of(json!({ "OldReplicas": 0 })));
    let unmanaged = of(json!({ "CurrentReplicas": 0, "ReadyReplicas": 0, "State": "UNMANAGED" }));
    grpcurl.check(schema, "GetDeployment", &web, &unmanaged);
}

#[tokio::test]
async fn every_rpc_works_with_the_proto_file() {
    check_every_rpc(Schema::Current).await;
}

#[tokio::test]
async fn every_rpc_works_by_reflection() {
    check_every_rpc(Schema::Reflection).await;
}

#[tokio::test]
async fn a_client_of_the_original_three_rpcs_works_unchanged() {
    let fixture = Fixture::new().await;
    fixture.create("web", 2).await;
    let grpcurl = Grpcurl::new(&fixture);
    let (schema, namespace) = (Schema::Original, fixture.namespace.as_str());
    let web = json!({ "Name": "web", "Namespace": namespace });
    let set = |count: i32| json!({ "Name": "web", "Namespace": namespace, "Replicas": count });
    let changed = json!({ "Name": "web", "Namespace": namespace, "OldReplicas": 2, "NewReplicas": 5 });
    grpcurl.check(schema, "SetDeployment", &set(5), &changed);
    fixture.wait_for("web", |answer| answer.current_replicas == Some(5)).await;
    let got = json!({ "Name": "web", "Namespace": namespace, "CurrentReplicas": 5, "DesiredReplicas": 5 });
    grpcurl.check(schema, "GetDeployment", &web, &got);
    let rows = json!({ "deploymentsReplicaConfig": [set(5)] });
    grpcurl.check(schema, "ListDeployments", &json!({ "Namespace": namespace }), &rows);
    grpcurl.check(schema, "ListDeployments", &json!({}), &rows);

    let refused = grpcurl.call(schema, "proto.DeploymentsService/SetDeployment", &set(0));
    assert_eq!(refused.status.code(), Some(STATUS_BASE + tonic::Code::InvalidArgument as i32));
    let complaint = String::from_utf8(refused.stderr).unwrap();
    assert!(
        complaint.contains(
            "Replicas: is required; a client generated from a proto without `optional` cannot send 0"
        ),
        "{complaint}"
    );
    grpcurl.check(schema, "GetDeployment", &web, &got);
}

#[tokio::test]
async fn reflection_shows_all_services_in_both_versions() {
    let fixture = Fixture::new().await;
    let grpcurl = Grpcurl::new(&fixture);
    let expected =
        ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "proto.DeploymentsService"];
    let listed = grpcurl.run(&[], &["list"]);
    let services = String::from_utf8(listed.stdout).unwrap();
    assert_eq!(services.lines().collect::<Vec<_>>(), expected);
    for (symbol, part) in [
        ("proto.DeploymentsService", "rpc SetDeployment ( .proto.SetDeploymentRequest ) returns"),
        ("proto.SetDeploymentRequest", "optional int32 Replicas = 3;"),
        ("grpc.health.v1.Health", "rpc Check"),
    ] {
        let described = grpcurl.run(&[], &["describe", symbol]);
        let text = String::from_utf8(described.stdout).unwrap();
        assert!(text.contains(part), "{symbol}: {text}");
    }

    let older = grpcurl.run(
        &["-d", r#"{"list_services": "*"}"#, "-proto", "tests/reflection_v1alpha.proto"],
        &["grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"],
    );
    let services = answer(&older);
    let services = services["listServicesResponse"]["service"].as_array().unwrap();
    let mut names: Vec<_> = services.iter().map(|service| service["name"].as_str().unwrap()).collect();
    names.sort_unstable();
    let expected =
        ["grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection", "proto.DeploymentsService"];
    assert_eq!(names, expected);
}

#[tokio::test]
async fn health_is_reported_for_the_server_and_the_api() {
    let fixture = Fixture::new().await;
    let grpcurl = Grpcurl::new(&fixture);
    for service in ["", "proto.DeploymentsService"] {
        let request = json!({ "service": service });
        eventually("it serves", async || {
            let health = grpcurl.call(Schema::Reflection, "grpc.health.v1.Health/Check", &request);
            let status = answer(&health);
            if status == json!({ "status": "SERVING" }) { Ok(()) } else { Err(status) }
        })
        .await;
    }
    let request = json!({ "service": "proto.Other" });
    let unknown = grpcurl.call(Schema::Reflection, "grpc.health.v1.Health/Check", &request);
    assert_eq!(unknown.status.code(), Some(STATUS_BASE + tonic::Code::NotFound as i32));
}

#[tokio::test]
async fn a_client_without_a_certificate_is_refused() {
    let fixture = Fixture::new().await;
    let grpcurl = Grpcurl::new(&fixture);
    let without = LINE.replace("localhost:8080", &grpcurl.address());
    let without: Vec<_> = without.lines().filter(|line| !line.contains("client.")).collect();
    let refused = grpcurl.shell(&without.join("\n"));
    assert!(!refused.status.success());
    let complaint = String::from_utf8(refused.stderr).unwrap();
    assert!(complaint.contains("certificate required"), "{complaint}");
}
