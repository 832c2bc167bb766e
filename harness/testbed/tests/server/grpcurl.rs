//! The API by the client that the README shows, and with the proto files that clients have.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use replica_count_testbed::workspace;
use serde_json::{Value, json};

use crate::scene::{Scene, eventually};

/// The line that users were given, letter for letter.
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

/// grpcurl ends with this and the code of the status.
const STATUS_BASE: i32 = 64;

/// How grpcurl learns what there is to call.
#[derive(Clone, Copy)]
enum Schema {
    /// The file of this repository.
    Current,
    /// The file that the first clients have.
    Original,
    /// What the server says.
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

/// A folder as users have it: `certificates` and `proto` in it.
struct Grpcurl<'a> {
    scene: &'a Scene<'static>,
    folder: PathBuf,
}

impl<'a> Grpcurl<'a> {
    fn new(scene: &'a Scene<'static>) -> Self {
        let folder = scene.control_plane.folder("client").unwrap();
        let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/proto");
        symlink(scene.manager.certificates().folder(), folder.join("certificates")).unwrap();
        symlink(workspace::root().unwrap().join("proto"), folder.join("proto")).unwrap();
        symlink(tests, folder.join("tests")).unwrap();
        Self { scene, folder }
    }

    /// Runs a line of a shell that finds grpcurl.
    fn shell(&self, line: &str) -> Output {
        let program = self.scene.control_plane.grpcurl().unwrap();
        let mut command = Command::new("/bin/sh");
        command.args(["-c", line]).current_dir(&self.folder);
        command.env_clear().env("PATH", program.parent().unwrap()).output().unwrap()
    }

    /// Runs grpcurl with the flags of the line, and those for the request before and after the address.
    fn run(&self, flags: &[&str], words: &[&str]) -> Output {
        let program = self.scene.control_plane.grpcurl().unwrap();
        let mut command = Command::new(program);
        command.current_dir(&self.folder).env_clear();
        command.args(["-cacert", "certificates/ca/ca.crt"]);
        command.args(["-cert", "certificates/client/client.crt", "-key", "certificates/client/client.key"]);
        command.args(flags).arg(self.address()).args(words).output().unwrap()
    }

    fn address(&self) -> String {
        format!("localhost:{}", self.scene.manager.grpc_address().port())
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
async fn the_line_of_the_readme_works_letter_for_letter() {
    let mut scene = Scene::new().await;
    scene.control_plane.create_namespace("my-app-namespace").await.unwrap();
    let empty = Grpcurl::new(&scene);
    let line = LINE.replace("localhost:8080", &empty.address());
    assert_eq!(answer(&empty.shell(&line)), json!({}));

    scene.control_plane.deployment("my-app-namespace", "web", 2).await.unwrap();
    let mut request = scene.set_request("web", 3);
    "my-app-namespace".clone_into(&mut request.namespace);
    scene.client.set_deployment(request).await.unwrap();
    let expected = json!({ "deploymentsReplicaConfig": [{
        "Name": "web", "Namespace": "my-app-namespace", "Replicas": 3, "CurrentReplicas": 3, "ReadyReplicas": 0,
        "State": "IN_SYNC",
    }] });
    let grpcurl = Grpcurl::new(&scene);
    eventually("the line shows the Deployment in sync", async || {
        let shown = answer(&grpcurl.shell(&line));
        if shown == expected { Ok(()) } else { Err(shown) }
    })
    .await;
}

/// Every RPC in turn, with the names of fields as the README shows them.
async fn check_every_rpc(schema: Schema) {
    let scene = Scene::new().await;
    scene.create("web", 2).await;
    let grpcurl = Grpcurl::new(&scene);
    let namespace = scene.namespace.as_str();
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
    scene.until_count("web", 0).await;
    let got = scene.until("web", |answer| answer.current_replicas == Some(0)).await;
    let set_at = got.set_at.unwrap();
    let set_at = jiff::Timestamp::new(set_at.seconds, set_at.nanos).unwrap();
    let mut answer = answer(&grpcurl.call(schema, "proto.DeploymentsService/GetDeployment", &web));
    let shown: jiff::Timestamp = answer["SetAt"].take().as_str().unwrap().parse().unwrap();
    assert_eq!(shown, set_at);
    let expected = of(json!({
        "CurrentReplicas": 0, "DesiredReplicas": 0, "ReadyReplicas": 0, "State": "IN_SYNC", "Generation": "1",
        "SetBy": "client", "SetAt": null, "Reason": "night", "Enforcement": "ENFORCE",
    }));
    assert_eq!(answer, expected);
    let row = of(json!({ "Replicas": 0, "CurrentReplicas": 0, "ReadyReplicas": 0, "State": "IN_SYNC" }));
    let rows = json!({ "deploymentsReplicaConfig": [row] });
    grpcurl.check(schema, "ListDeployments", &json!({ "Namespace": namespace }), &rows);
    let ignore = of(json!({ "Mode": "IGNORE", "Until": "2100-01-01T00:00:00Z" }));
    let ignored = of(json!({ "Mode": "IGNORE", "Until": "2100-01-01T00:00:00Z", "Generation": "2" }));
    grpcurl.check(schema, "SetEnforcement", &ignore, &ignored);
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
    let scene = Scene::new().await;
    scene.create("web", 2).await;
    let grpcurl = Grpcurl::new(&scene);
    let (schema, namespace) = (Schema::Original, scene.namespace.as_str());
    let web = json!({ "Name": "web", "Namespace": namespace });
    let set = |count: i32| json!({ "Name": "web", "Namespace": namespace, "Replicas": count });
    let changed = json!({ "Name": "web", "Namespace": namespace, "OldReplicas": 2, "NewReplicas": 5 });
    grpcurl.check(schema, "SetDeployment", &set(5), &changed);
    scene.until("web", |answer| answer.current_replicas == Some(5)).await;
    let got = json!({ "Name": "web", "Namespace": namespace, "CurrentReplicas": 5, "DesiredReplicas": 5 });
    grpcurl.check(schema, "GetDeployment", &web, &got);
    let rows = json!({ "deploymentsReplicaConfig": [set(5)] });
    grpcurl.check(schema, "ListDeployments", &json!({ "Namespace": namespace }), &rows);
    grpcurl.check(schema, "ListDeployments", &json!({}), &rows);

    let refused = grpcurl.call(schema, "proto.DeploymentsService/SetDeployment", &set(0));
    assert_eq!(refused.status.code(), Some(STATUS_BASE + tonic::Code::InvalidArgument as i32));
    let complaint = String::from_utf8(refused.stderr).unwrap();
    assert!(
        complaint
            .contains("Replicas: is required; a client made from a proto without `optional` cannot send 0"),
        "{complaint}"
    );
    grpcurl.check(schema, "GetDeployment", &web, &got);
}

#[tokio::test]
async fn reflection_shows_all_services_in_both_versions() {
    let scene = Scene::new().await;
    let grpcurl = Grpcurl::new(&scene);
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
async fn health_is_told_for_the_server_and_the_api() {
    let scene = Scene::new().await;
    let grpcurl = Grpcurl::new(&scene);
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
async fn without_a_certificate_it_is_refused() {
    let scene = Scene::new().await;
    let grpcurl = Grpcurl::new(&scene);
    let without = LINE.replace("localhost:8080", &grpcurl.address());
    let without: Vec<_> = without.lines().filter(|line| !line.contains("client.")).collect();
    let refused = grpcurl.shell(&without.join("\n"));
    assert!(!refused.status.success());
    let complaint = String::from_utf8(refused.stderr).unwrap();
    assert!(complaint.contains("certificate required"), "{complaint}");
}
