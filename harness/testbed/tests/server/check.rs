//! The `check` command: what people and `helm test` ask a server with.

use std::path::Path;
use std::process::Command;

use replica_count_testbed::manager::Certificates;
use replica_count_testbed::{Manager, workspace};

use crate::alone::Alone;
use crate::scene::Scene;

/// The exit status when a file is not usable.
const USAGE: i32 = 64;
/// The exit status when the server does not serve.
const FAILED: i32 = 1;

/// Someone who asks a server.
struct Asker {
    address: String,
    certificates: Certificates,
}

impl Asker {
    fn of(manager: &Manager) -> Self {
        let address = format!("localhost:{}", manager.grpc_address().port());
        Self { address, certificates: manager.certificates().clone() }
    }

    /// Asks with further flags, which win, and expects one line with these words.
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
async fn a_server_that_serves_passes_and_tells_what_it_manages() {
    let mut scene = Scene::limited().await;
    let asker = Asker::of(&scene.manager);
    asker.expect(&[("--wait", Path::new("30"))], 0, "serves and manages 0 Deployments\n");
    scene.create_managed("one", 1).await;
    asker.expect(&[], 0, "serves and manages 1 Deployment\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_trusted_is_told_so() {
    let (scene, other) = (Scene::limited().await, Alone::new());
    let asker = Asker::of(&scene.manager);
    let strange = other.options(&[]).certificates().unwrap();
    let (authority, certificate, key) =
        (strange.authority(), strange.certificate("client"), strange.key("client"));

    asker.expect(
        &[("--ca", &authority)],
        FAILED,
        "cannot connect: transport error: invalid peer certificate",
    );
    asker.expect(&[("--cert", &certificate), ("--key", &key)], FAILED, "received fatal alert");
    asker.expect(&[("--server-name", Path::new("another.example"))], FAILED, "not valid for name");
    asker.expect(&[("--key", Path::new("/missing"))], USAGE, "/missing: No such file");
    asker.expect(&[("--key", &certificate)], USAGE, "the certificates cannot be used");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_away_or_not_ready_fails() {
    let alone = Alone::new();
    let manager = Manager::start(&alone.options(&[])).await.unwrap();
    let asker = Asker::of(&manager);
    asker.expect(&[("--wait", Path::new("1"))], FAILED, "is not ready");
    manager.kill().unwrap();
    asker.expect(&[("--wait", Path::new("1"))], FAILED, "Connection refused");
}
