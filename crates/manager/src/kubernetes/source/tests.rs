use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;

/// A folder with a kubeconfig in it, and files that it may name.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(TempDir::new().expect("a folder"))
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.0.path().join(name), text).expect("written");
    }

    fn kubeconfig(&self, cluster: &Value, user: &Value) {
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{ "name": "k", "cluster": cluster }],
            "users": [{ "name": "u", "user": user }],
            "contexts": [{ "name": "c", "context": { "cluster": "k", "user": "u" } }],
        });
        self.write("config", kubeconfig.to_string());
    }

    fn open(&self) -> Result<Opened, SourceError> {
        Source { kubeconfig: Some(self.0.path().join("config")), context: None }.open()
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

fn authorization(loaded: &Loaded) -> Option<&str> {
    loaded.access.authorization.as_ref().map(|value| value.to_str().expect("text"))
}

#[test]
fn the_credentials_of_a_user_are_those_of_kubectl() {
    let folder = Folder::new();
    folder.write("token", " from-file\n");
    let exec = json!({ "apiVersion": "client.authentication.k8s.io/v1", "command": "plugin" });
    let check = |user: Value, expected: Option<&str>, method: &str| {
        folder.kubeconfig(&json!({ "server": "http://k8s:8080" }), &user);
        let loaded = folder.open().expect("usable").loaded;
        assert_eq!(authorization(&loaded), expected, "{user}");
        assert!(loaded.method.to_string().contains(method), "{user}: {}", loaded.method);
        assert_eq!(loaded.plugin.is_some(), method.contains("plugin"), "{user}");
    };
    check(json!({}), None, "no credentials");
    check(json!({ "token": "inline" }), Some("Bearer inline"), "token of the kubeconfig");
    check(json!({ "token": "inline", "tokenFile": "token" }), Some("Bearer from-file"), "the token in /");
    check(
        json!({ "token": "inline", "tokenFile": "missing" }),
        Some("Bearer inline"),
        "token of the kubeconfig",
    );
    check(json!({ "username": "me", "password": "pw" }), Some("Basic bWU6cHc="), "password");
    let empty = json!({ "username": "", "password": "", "token": "inline" });
    check(empty, Some("Bearer inline"), "token of the kubeconfig");
    check(json!({ "exec": exec, "username": "", "password": "" }), None, "plugin");
    check(json!({ "exec": exec, "password": "pw" }), None, "plugin");
    check(json!({ "exec": exec, "token": "inline" }), Some("Bearer inline"), "token of the kubeconfig");
    check(json!({ "exec": exec }), None, "plugin");
    let oidc = json!({ "name": "oidc", "config": { "id-token": "id" } });
    check(json!({ "auth-provider": oidc }), Some("Bearer id"), "token");
}

#[test]
fn what_cannot_be_used_is_named() {
    let folder = Folder::new();
    folder.write("empty", "");
    let check = |user: Value, words: &str| {
        folder.kubeconfig(&json!({ "server": "http://k8s:8080" }), &user);
        let refused = folder.open().map(drop).expect_err(words).to_string();
        assert!(refused.starts_with("--kubeconfig /") && refused.contains(words), "{refused}");
    };
    check(json!({ "tokenFile": "missing" }), "tokenFile ");
    check(json!({ "tokenFile": "empty" }), "the token is empty");
    check(json!({ "client-certificate": "empty" }), "without its client-key");
    check(json!({ "client-certificate": "empty", "client-key": "empty" }), "no certificate in it");
    check(json!({ "token": "a", "username": "b" }), "either a password or a token");
    check(json!({ "exec": { "command": "x" } }), "the apiVersion");
    check(json!({ "auth-provider": { "name": "gcp" } }), "gke-gcloud-auth-plugin");
    let cluster = |cluster: Value, words: &str| {
        folder.kubeconfig(&cluster, &json!({}));
        let refused = folder.open().map(drop).expect_err(words).to_string();
        assert!(refused.contains(words) && !refused.contains("secret"), "{refused}");
    };
    cluster(json!({}), "the cluster has no server");
    cluster(json!({ "server": "ftp://k8s" }), "neither http nor https");
    cluster(json!({ "server": "https://k8s:https" }), "its port is not a number");
    cluster(json!({ "server": "http://k8s", "proxy-url": "ftp://me:secret@proxy" }), "proxy-url: \"ftp\"");
    cluster(json!({ "server": "https://k8s", "certificate-authority": "missing" }), "certificate-authority ");
}

#[test]
fn a_certificate_and_a_key_that_do_not_match_are_named() {
    let folder = Folder::new();
    let pair = || rcgen::generate_simple_self_signed(Vec::new()).expect("generated");
    let (one, other) = (pair(), pair());
    folder.write("crt", one.cert.pem());
    let check = |key: &str, words: Option<&str>| {
        folder.write("key", key);
        let user = json!({ "client-certificate": "crt", "client-key": "key" });
        folder.kubeconfig(&json!({ "server": "https://k8s" }), &user);
        let refused = folder.open().map(drop).err().map(|error| error.to_string());
        let place = format!("config: client-certificate {}: ", folder.path().join("crt").display());
        let expected = words.map(|words| format!("{place}{words}"));
        match (&refused, expected) {
            (Some(refused), Some(expected)) => assert!(refused.contains(&expected), "{refused}"),
            (refused, expected) => assert_eq!(refused.as_ref(), expected.as_ref()),
        }
    };
    check(&one.signing_key.serialize_pem(), None);
    check(&other.signing_key.serialize_pem(), Some("the key does not belong to the certificate"));
    check("half of a key", Some("the key is not PEM"));
}

#[test]
fn what_changes_is_read_again() {
    let folder = Folder::new();
    folder.write("token", "one\n");
    folder.kubeconfig(&json!({ "server": "http://one:1" }), &json!({ "tokenFile": "token" }));
    let mut opened = folder.open().expect("usable");
    let reread = |opened: &Opened| opened.reread_if_changed().expect("usable");
    assert!(reread(&opened).is_none());

    folder.write("token", "two\n");
    opened.loaded = reread(&opened).expect("changed");
    assert_eq!(authorization(&opened.loaded), Some("Bearer two"));
    folder.kubeconfig(&json!({ "server": "http://two:2" }), &json!({ "token": "three" }));
    opened.loaded = reread(&opened).expect("changed");
    assert_eq!(authorization(&opened.loaded), Some("Bearer three"));
    assert_eq!(opened.server(), "http://two:2/");
    folder.write("token", "not named any more");
    assert!(reread(&opened).is_none());

    folder.write("config", "half of");
    assert!(opened.reread_if_changed().is_err());
    fs::remove_file(folder.path().join("config")).expect("removed");
    assert!(opened.reread_if_changed().is_err());
}

#[test]
fn the_proxy_of_the_kubeconfig_counts() {
    let folder = Folder::new();
    let cluster = json!({ "server": "https://127.0.0.1:6443", "proxy-url": "socks5://me:pw@proxy" });
    folder.kubeconfig(&cluster, &json!({ "token": "t" }));
    let proxy = folder.open().expect("usable").loaded.access.endpoint.proxy;
    assert_eq!(proxy.expect("named").to_string(), "socks5://proxy:1080");
}
