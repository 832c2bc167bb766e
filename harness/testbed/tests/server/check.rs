//! The `check` command, used by people and by `helm test`.

use std::path::Path;
use std::process::Command;

use replica_count_testbed::manager::Certificates;
use replica_count_testbed::{Manager, workspace};

use crate::fixture::Fixture;
use crate::kinds::StatefulSets;
use crate::standalone::Standalone;

/// The exit status for an unusable file.
const USAGE: i32 = 64;
/// The exit status for a server that does not serve.
const FAILED: i32 = 1;

/// Runs `check` against a server.
struct Checker {
    address: String,
    certificates: Certificates,
}

impl Checker {
    fn of(manager: &Manager) -> Self {
        let address = format!("localhost:{}", manager.grpc_address().port());
        Self { address, certificates: manager.certificates().clone() }
    }

    /// Runs `check` and expects one line of output that contains `words`. `flags` override the defaults.
    #[track_caller]
    fn expect(&self, flags: &[(&str, &Path)], status: i32, words: &str) {
        let mut command =
            Command::new(workspace::built_binary("replica-count-manager", "replica-count-manager").unwrap());
        command.env_clear().args(["check", "--address", &self.address]);
        for (flag, file) in [
            ("--ca", self.certificates.authority()),
            ("--cert", self.certificates.certificate("client")),
            ("--key", self.certificates.key("client")),
        ] {
            if !flags.iter().any(|(name, _)| *name == flag) {
                command.arg(flag).arg(file);
            }
        }
        for (flag, value) in flags {
            command.arg(flag).arg(value);
        }
        let output = command.output().unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(status), "{text}");
        assert!(text.contains(words) && text.lines().count() == 1, "not one line with {words:?}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_serving_server_passes_and_reports_what_it_manages() {
    let mut fixture = Fixture::limited().await;
    let checker = Checker::of(&fixture.manager);
    checker.expect(&[("--wait", Path::new("30"))], 0, "serves and manages 0 Deployments\n");
    fixture.create_managed("one", 1).await;
    checker.expect(&[], 0, "serves and manages 1 Deployment\n");
    let mut sets = StatefulSets::of(fixture).await;
    for name in ["one", "two"] {
        sets.create_managed(name, 1).await;
    }
    checker.expect(&[], 0, "serves and manages 1 Deployment and 2 StatefulSets\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_trust_are_explained() {
    let (fixture, other) = (Fixture::limited().await, Standalone::new());
    let checker = Checker::of(&fixture.manager);
    let foreign = other.options(&[]).certificates().unwrap();
    let (authority, certificate, key) =
        (foreign.authority(), foreign.certificate("client"), foreign.key("client"));

    checker.expect(
        &[("--ca", &authority)],
        FAILED,
        "cannot connect: transport error: invalid peer certificate",
    );
    checker.expect(&[("--cert", &certificate), ("--key", &key)], FAILED, "received fatal alert");
    checker.expect(&[("--server-name", Path::new("another.example"))], FAILED, "not valid for name");
    checker.expect(
        &[("--key", Path::new("/missing"))],
        USAGE,
        "/missing: does not exist (`kubectl-replicas certs`",
    );
    checker.expect(&[("--key", &certificate)], USAGE, "client.crt: holds no private key");
    checker.expect(&[("--server-name", Path::new("no name"))], USAGE, "the name \"no name\"");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_or_unready_server_fails() {
    let standalone = Standalone::new();
    let manager = Manager::start(&standalone.options(&[])).await.unwrap();
    let checker = Checker::of(&manager);
    checker.expect(&[("--wait", Path::new("1"))], FAILED, "is not ready");
    manager.kill().unwrap();
    checker.expect(&[("--wait", Path::new("1"))], FAILED, "Connection refused");
}
