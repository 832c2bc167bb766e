//! What goes wrong, and what people are told to do.

use std::fs;

use replica_count_testbed::control_plane::Scope;

use super::Cli;
use crate::fixture::{Fixture, options, shared};

impl Cli<'_> {
    /// Runs a line of words. Expects a failure that says all of these.
    #[track_caller]
    fn refused(&self, line: &str, expected: &[&str]) {
        let said = self.fails(line, 1);
        for part in expected {
            assert!(said.contains(part), "{line}: {part:?} is not in: {said}");
        }
    }
}

#[tokio::test]
async fn without_a_server_or_a_certificate_the_next_step_is_named() {
    let fixture = Fixture::new().await;
    let cli = Cli::stranger(&fixture);
    cli.refused(
        "get",
        &["error: no server is found in the cluster of the context testbed\n", "--service NAMESPACE/NAME"],
    );
    let address = cli.address();
    cli.refused(
        &format!("get --server {address}"),
        &["there is no client certificate: ", "kubectl replicas login"],
    );
    assert!(cli.fails(&format!("get --server {address} --cert x"), 2).contains("--ca and --key is missing"));
    cli.refused("get --context other", &["the kubeconfig has no context \"other\"", "get-contexts"]);
    cli.login("client");
    cli.refused("get --service no-such/service", &["there is no Service no-such/service"]);
    cli.refused("get --server localhost:1", &["the server at localhost:1: ", "Nothing listens there"]);
}

#[tokio::test]
async fn a_profile_is_for_its_owner_only_and_can_be_forgotten() {
    let fixture = Fixture::new().await;
    let cli = Cli::new(&fixture);
    let profile = cli.file(".config/kubectl-replicas/testbed.json");
    let mut permissions = fs::metadata(&profile).unwrap().permissions();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&permissions) & 0o777, 0o600);
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o640);
    fs::set_permissions(&profile, permissions).unwrap();
    cli.refused("get", &["others may read this file", "chmod 600 "]);
    let forgotten = cli.ok("login --forget");
    assert_eq!(forgotten, format!("deleted {}\n", profile.display()));
    cli.refused("get", &["no server is found"]);
}

#[tokio::test]
async fn a_certificate_that_no_server_accepts_is_explained() {
    let fixture = Fixture::new().await;
    let cli = Cli::new(&fixture);
    let other = Fixture::new().await;
    let files = other.manager.certificates().files("client");
    let [ca, cert, key] = [&files.authority, &files.certificate, &files.key].map(|file| file.display());
    let ours = fixture.manager.certificates().authority();
    let ours = ours.display();
    cli.refused(&format!("get --ca {ours} --cert {cert} --key {key}"), &["The server does not know the CA"]);
    cli.refused(&format!("get --ca {ca} --cert {cert} --key {key}"), &["Your CA has not signed"]);
    cli.refused("get --server-name other.example", &["--server-name"]);
}

#[tokio::test]
async fn refused_by_rights_the_command_that_grants_them_is_named() {
    let control_plane = shared().await;
    let options = options(control_plane, &Scope::Cluster, &["--authorization-mode", "rbac"]).await;
    let fixture = Fixture::with_options(control_plane, options).await;
    fixture.create("web", 1).await;
    let cli = Cli::new(&fixture);
    let namespace = &fixture.namespace;
    cli.refused(
        "set web 3",
        &[
            "User \"client\" cannot create resource \"replicacounts\"",
            namespace,
            "kubectl create rolebinding ",
            "--clusterrole=edit --user='client'",
        ],
    );
    cli.refused("get", &["cannot list resource", "--clusterrole=view"]);
}

#[tokio::test]
async fn what_is_in_the_way_of_a_count_is_named() {
    let mut fixture = Fixture::new().await;
    fixture.create_managed("web", 3).await;
    fixture.create("api", 1).await;
    fixture.autoscale("scaler", "api", 2).await;
    let cli = Cli::new(&fixture);
    crate::fixture::eventually("the autoscaler is known", async || {
        let printed = cli.run(["set", "api", "1", "--dry-run"]);
        if printed.err.contains("HorizontalPodAutoscaler/scaler")
            && printed.err.contains("--allow-autoscaled")
        {
            Ok(())
        } else {
            Err(printed)
        }
    })
    .await;
    cli.refused("set wbe 3", &["does not exist", "Did you mean web?", "--allow-missing"]);
    cli.refused(
        "set web 4 --if-generation 7",
        &["client has set it to 3, in generation 1.", "kubectl replicas who web"],
    );
    cli.refused("ignore api", &["is not managed", "kubectl replicas set NAME COUNT"]);
    cli.refused("set web 1001", &["1001 is more than 1000"]);
    assert!(cli.fails("set web many", 2).contains("\"many\" is not a count"));
    let printed = cli.run(["delete", "web", "nothing"]);
    assert_eq!(
        (printed.status, &*printed.out),
        (1, "deployment.apps/web is no longer managed (its count was 3)\n")
    );
    assert!(
        printed.err.contains("deployment.apps/nothing: ")
            && printed.err.contains("error: 1 deleted, 1 failed"),
        "{printed:?}"
    );
}
