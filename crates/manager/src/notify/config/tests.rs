use std::fs;

use replica_count_core::history::entry::What;
use replica_count_core::words::Severity;
use tempfile::TempDir;

use super::*;

/// A file with these lines, and files for its secrets.
fn load(text: &str) -> Result<Config, String> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("notify.yaml");
    fs::write(&path, text).unwrap();
    fs::write(folder.path().join("url"), "https://hooks.example.com/secret\n").unwrap();
    fs::write(folder.path().join("key"), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").unwrap();
    fs::write(folder.path().join("token"), "t0ken").unwrap();
    fs::write(folder.path().join("empty"), "").unwrap();
    let loaded = Config::load(&path).map(|(config, _)| config);
    loaded.map_err(|error| {
        let text = error.to_string();
        assert!(!text.contains('\n') && !text.contains("t0ken") && !text.contains("/secret"), "{text}");
        text.replace(&format!("--notify-config {}", path.display()), "FILE")
            .replace(&format!("{}/", folder.path().display()), "")
    })
}

const WHOLE: &str = "
window: 1m
links:
  - {text: Dashboard, url: 'https://grafana.example.com/d/rcm?var-name={name}'}
receivers:
  - name: chat
    slack: {urlFile: url}
  - name: cards
    teams: {urlFile: url}
  - name: audit
    webhook: {url: 'http://audit.example.com/hook', signingKeyFile: key, bearerTokenFile: token}
  - name: alerts
    alertmanager: {url: 'http://alertmanager:9093/', bearerTokenFile: token}
routes:
  - name: shop
    receiver: chat
    namespaces: [shop, 'shop-*']
    kinds: [deployments]
    events: [drifted, contested]
    severity: warning
    window: 10s
  - {name: everything, receiver: audit}
";

#[test]
fn a_whole_file_is_read() {
    let config = load(WHOLE).unwrap();
    let [shop, everything] = &config.routes[..] else { panic!("{config:?}") };
    assert_eq!((shop.window, everything.window), (Duration::from_secs(10), Duration::from_mins(1)));
    assert_eq!(shop.filter.namespaces, ["shop", "shop-*"]);
    assert_eq!(shop.filter.whats, [What::Drifted, What::Contested].into());
    assert_eq!((shop.filter.severity, &everything.filter), (Severity::Warning, &RouteFilter::default()));
    let hosts: Vec<_> = config.receivers.values().map(|receiver| receiver.host()).collect();
    assert_eq!(hosts, ["alertmanager", "audit.example.com", "hooks.example.com", "hooks.example.com"]);
    assert_eq!(config.receivers["alerts"].url, "http://alertmanager:9093/api/v2/alerts");
    let shown = format!("{config:?}");
    assert!(!shown.contains("secret") && !shown.contains("t0ken"), "{shown}");
    assert!(load("").unwrap().routes.is_empty(), "nothing is sent");
}

#[track_caller]
fn check_refused(from: &str, to: &str, expected: &str) {
    assert!(WHOLE.contains(from), "{from}");
    assert_eq!(load(&WHOLE.replacen(from, to, 1)).unwrap_err(), expected);
}

#[test]
fn an_error_names_line_and_column() {
    check_refused(
        "receiver: audit",
        "receiver: adit",
        "FILE:22:34: there is no receiver \"adit\"; there are: alerts, audit, cards, chat",
    );
    check_refused(
        "slack: {urlFile: url}",
        "slack: {urlFile: gone}",
        "FILE:7:22: gone cannot be read: entity not found",
    );
    check_refused(
        "={name}",
        "={nam}",
        "FILE:4:28: {nam} is not a field; fields are {namespace}, {kind} and {name}",
    );
    check_refused(
        "[drifted,",
        "[drift,",
        "FILE:19:14: \"drift\" is not known; known are: set, deleted, enforced, ignored, drifted, another_server, repaired, applied, resolved, late_cost, contested, calmed, steady_conflict, steady_conflict_ended, missing, autoscaled, write_failed, hold_ended",
    );
    check_refused(
        "[deployments]",
        "[pods]",
        "FILE:18:13: \"pods\" is not known; known are: deployments, statefulsets",
    );
    check_refused(
        "severity: warning",
        "severity: bad",
        "FILE:20:15: \"bad\" is not known; known are: info, warning, error",
    );
    check_refused(
        "window: 10s",
        "window: 10",
        "FILE:21:13: \"10\" is no window: write 1s to 3600s, or 1m to 60m",
    );
    check_refused(
        "[shop, ",
        "['*shop', ",
        "FILE:17:18: \"*shop\" is no namespace, nor the beginning of one and *",
    );
    check_refused("name: everything", "name: shop", "FILE:22:12: there are two routes \"shop\"");
    check_refused("name: cards", "name: chat", "FILE:8:11: there are two receivers \"chat\"");
    check_refused(
        "teams: {urlFile: url}",
        "",
        "FILE:8:11: a receiver has exactly one of: slack, teams, webhook, alertmanager",
    );
}

#[test]
fn an_error_about_a_secret_does_not_show_it() {
    check_refused(
        "{urlFile: url}",
        "{url: 'https://hooks.slack.com/x'}",
        "FILE:7:18: this URL is a secret: put it into a file, and name that as urlFile",
    );
    check_refused(
        "{urlFile: url}",
        "{urlFile: key}",
        "FILE:7:22: the content of key: the URL must begin with https://",
    );
    check_refused("{urlFile: url}", "{urlFile: empty}", "FILE:7:22: empty is not one line of text");
    check_refused(
        "{urlFile: url}",
        "{urlFile: url, caFile: key}",
        "FILE:7:35: key: there is no certificate in it",
    );
    check_refused(
        "signingKeyFile: key",
        "signingKeyFile: token",
        "FILE:11:69: token is not a key: write whsec_ and 24 to 64 bytes in base64",
    );
    check_refused(
        "'http://audit.example.com/hook'",
        "ftp://x",
        "FILE:11:20: the URL must begin with https:// or http://",
    );
}

#[test]
fn what_is_no_such_file_is_refused() {
    check_refused(
        "window: 1m",
        "windows: 1m",
        "FILE:2:1: unknown field `windows`, expected one of window, links, receivers, routes",
    );
    let error = load("receivers: [").unwrap_err();
    assert!(error.starts_with("FILE:1:"), "{error}");
    let error = Config::load(Path::new("/nowhere/notify.yaml")).unwrap_err().to_string();
    assert_eq!(error, "--notify-config /nowhere/notify.yaml: entity not found");
}
