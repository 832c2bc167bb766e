//! Credentials that others renew: an hour's worth of renewals within a minute, and none at all for a while.
//!
//! They are renewed on a real API server: certificates expire, and a token ends with the Secret that it is bound to.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use replica_count_api::proto::DeploymentState;
use replica_count_testbed::control_plane::BoundToken;
use replica_count_testbed::{ControlPlane, Manager, manager};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::fixture::{Fixture, eventually, shared, testbed};

/// How many renewals there are. Tokens of clouds and of Kubernetes are renewed 1 to 4 times an hour.
const RENEWALS: u32 = 5;
/// How long after one comes the next: a little more than the server's period of looking.
const EACH: Duration = Duration::from_secs(7);
/// How long a certificate is valid: less than all renewals take, and enough for a busy machine.
const LIFETIME: Duration = Duration::from_secs(21);

/// A folder for credentials, and who issues them.
struct Issuer {
    control_plane: &'static ControlPlane,
    folder: PathBuf,
}

impl Issuer {
    async fn new() -> Self {
        let control_plane = shared().await;
        Self { control_plane, folder: control_plane.folder("credentials").unwrap() }
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.join(name);
        let new = path.with_extension("new");
        fs::write(&new, text).unwrap();
        fs::rename(new, &path).unwrap();
        path
    }

    /// The options of a server with this user in its kubeconfig.
    fn options(&self, user: &Value) -> manager::Options {
        let text = fs::read_to_string(self.control_plane.admin_kubeconfig()).unwrap();
        let mut kubeconfig: Value = serde_json::from_str(&text).unwrap();
        kubeconfig["users"][0]["user"] = user.clone();
        let path = self.write("kubeconfig", &kubeconfig.to_string());
        manager::Options::new(testbed(), &path, &self.folder).unwrap()
    }

    /// The user of a plugin that prints what is in the file `status`.
    fn plugin(&self) -> Value {
        let version = "client.authentication.k8s.io/v1";
        let head = format!(r#"{{"kind":"ExecCredential","apiVersion":"{version}","status":"#);
        let script =
            format!("#!/bin/sh\necho >> \"$1/runs\"; printf '%s' '{head}'; cat \"$1/status\"; echo '}}'\n");
        let path = self.write("plugin.sh", &script);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        json!({ "exec": { "apiVersion": version, "command": path, "args": [self.folder] } })
    }

    async fn token(&self) -> BoundToken {
        BoundToken::issue(self.control_plane).await.unwrap()
    }

    async fn revoke(&self, token: &BoundToken) {
        token.revoke(self.control_plane).await.unwrap();
    }
}

/// Renews the credentials again and again, while the server must see and repair every drift. It must use new ones at least
/// `uses` times.
async fn check(fixture: &mut Fixture<'_>, uses: u32, mut renew: impl AsyncFnMut()) {
    fixture.create_managed("web", 3).await;
    for _ in 0..RENEWALS {
        renew().await;
        sleep(EACH).await;
        fixture.scale("web", 7).await;
        fixture.wait_for_count("web", 3).await;
    }
    assert_eq!(fixture.manager.get("/healthz").await.unwrap(), (200, "ok\n".to_owned()));
    assert!(metric(&fixture.manager, "kubernetes_credentials_renewals_total").await >= f64::from(uses));
    assert!(metric(&fixture.manager, "kubernetes_credentials_age_seconds").await < 30.0);
}

async fn metric(manager: &Manager, name: &str) -> f64 {
    let text = manager.metrics().await.unwrap();
    let name = format!("replica_count_manager_{name} ");
    let line =
        text.lines().find_map(|line| line.strip_prefix(&name)).unwrap_or_else(|| panic!("{name}{text}"));
    line.parse().unwrap()
}

#[tokio::test]
async fn a_rotated_token_file_is_followed() {
    let issuer = Issuer::new().await;
    let mut token = issuer.token().await;
    let path = issuer.write("token", &format!("{}\n", token.text));
    let options = issuer.options(&json!({ "tokenFile": path }));
    let mut fixture = Fixture::with_options(issuer.control_plane, options).await;
    check(&mut fixture, RENEWALS, async || {
        let next = issuer.token().await;
        issuer.write("token", &format!("{}\n", next.text));
        issuer.revoke(&token).await;
        token = next;
    })
    .await;
}

/// Writes a certificate and its key, one after the other, as most tools do.
fn write_certificate(issuer: &Issuer) -> (PathBuf, PathBuf) {
    let user = "renewed";
    let (certificate, key) = issuer.control_plane.expiring_certificate(user, LIFETIME).unwrap();
    (issuer.write("client.crt", &certificate), issuer.write("client.key", &key))
}

#[tokio::test]
async fn a_renewed_certificate_is_followed() {
    let issuer = Issuer::new().await;
    let (certificate, key) = write_certificate(&issuer);
    let options = issuer.options(&json!({ "client-certificate": certificate, "client-key": key }));
    let mut fixture = Fixture::with_options(issuer.control_plane, options).await;
    check(&mut fixture, RENEWALS, async || drop(write_certificate(&issuer))).await;
}

#[tokio::test]
async fn a_certificate_of_a_plugin_is_renewed_before_it_expires() {
    let issuer = Issuer::new().await;
    let give = || {
        let (certificate, key) = issuer.control_plane.expiring_certificate("given", LIFETIME).unwrap();
        let status = json!({ "clientCertificateData": certificate, "clientKeyData": key });
        issuer.write("status", &status.to_string());
    };
    give();
    let options = issuer.options(&issuer.plugin());
    let mut fixture = Fixture::with_options(issuer.control_plane, options).await;
    // It runs the plugin when the certificate has 15 s left, which every second look sees.
    check(&mut fixture, RENEWALS / 2, async || give()).await;
}

/// How often a plugin ran.
fn runs(folder: &Path) -> usize {
    fs::read_to_string(folder.join("runs")).unwrap().lines().count()
}

#[tokio::test]
async fn a_revoked_token_is_told_until_the_plugin_gives_another() {
    let issuer = Issuer::new().await;
    let mut token = issuer.token().await;
    let give = |token: &BoundToken| drop(issuer.write("status", &json!({ "token": token.text }).to_string()));
    give(&token);
    let mut fixture = Fixture::with_options(issuer.control_plane, issuer.options(&issuer.plugin())).await;
    fixture.create_managed("web", 3).await;
    for round in 1..=2 {
        issuer.revoke(&token).await;
        eventually("/healthz tells it", async || match fixture.manager.get("/healthz").await.unwrap() {
            (503, body) if body.starts_with("unauthorized: ") => Ok(()),
            other => Err(other),
        })
        .await;
        fixture.wait_for("web", |answer| answer.observed_age.is_some()).await;
        let (status, body) = fixture.manager.get("/readyz").await.unwrap();
        assert!(status == 200 && body.contains("has not accepted the credentials"), "{status} {body}");
        assert!(metric(&fixture.manager, "kubernetes_unauthenticated_seconds").await > 0.0);
        let answer = fixture.set("web", 3 + round).await;
        assert_eq!(answer.new_replicas, Some(3 + round), "settings are stored meanwhile");
        let before = (runs(&issuer.folder), Instant::now());
        sleep(EACH).await;
        let more = runs(&issuer.folder) - before.0;
        assert!(more <= 4, "{more} runs in {:?}", before.1.elapsed());

        token = issuer.token().await;
        give(&token);
        fixture.wait_for_count("web", 3 + round).await;
        fixture.wait_for_state("web", DeploymentState::InSync).await;
        assert_eq!(fixture.manager.get("/healthz").await.unwrap(), (200, "ok\n".to_owned()));
        eventually("/readyz no longer tells it", async || {
            match fixture.manager.get("/readyz").await.unwrap() {
                (200, body) if body == "ok\n" => Ok(()),
                other => Err(other),
            }
        })
        .await;
        assert!(metric(&fixture.manager, "kubernetes_unauthenticated_seconds").await < 0.001);
    }
    let log = fixture.manager.log().join("\n");
    assert!(log.contains("does not accept the credentials (401)"), "{log}");
    assert!(!log.contains("continues without"), "{log}");
}
