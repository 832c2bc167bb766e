//! Unusable options are refused at the start: in one line, before anything is bound or connected.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, date_time_ymd};
use replica_count_testbed::{Manager, manager};

use crate::standalone::Standalone;

/// The exit status for an unusable flag or file.
const USAGE: i32 = 64;
const FAILED: i32 = 1;

/// Starts the server, expects it to refuse its options, and returns the error line.
async fn refusal(standalone: &Standalone, options: &manager::Options) -> String {
    let (status, log) = Manager::start_expecting_failure(options).await.unwrap();
    assert_eq!(status.code(), Some(USAGE), "{log:?}");
    let [line] = log.as_slice() else { panic!("one line: {log:#?}") };
    assert!(line.starts_with("replica-count-manager: "), "{line}");
    assert!(!standalone.was_contacted(), "it connected: {line}");
    line.clone()
}

#[track_caller]
fn assert_contains(line: &str, words: &[&str]) {
    for part in words {
        assert!(line.contains(part), "{part:?} is not in: {line}");
    }
}

/// A port in use: a server that bound it too early would fail with a different error.
struct Taken {
    _listener: TcpListener,
    address: String,
}

impl Taken {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        Self { _listener: listener, address }
    }

    /// These arguments, plus this address for both ports unless they set others.
    fn with<'a>(&'a self, arguments: &[&'a str]) -> Vec<&'a str> {
        let mut all = Vec::new();
        for flag in ["--grpc-address", "--http-address"] {
            if !arguments.contains(&flag) {
                all.extend([flag, &self.address]);
            }
        }
        all.extend(arguments);
        all
    }
}

async fn check(standalone: &Standalone, arguments: &[&str], words: &[&str]) {
    let taken = Taken::new();
    let line = refusal(standalone, &standalone.options(&taken.with(arguments))).await;
    assert_contains(&line, words);
}

#[tokio::test]
async fn a_bad_flag_is_named() {
    let standalone = Standalone::new();
    let cases: [(&[&str], &[&str]); 16] = [
        (&["--grpc-address", "nowhere"], &["--grpc-address", "'nowhere'"]),
        (&["--grpc-address", "127.0.0.1"], &["--grpc-address", "'127.0.0.1'"]),
        (&["--http-address", "127.0.0.1:65536"], &["--http-address", "'127.0.0.1:65536'"]),
        (&["--namespace", "My_App"], &["--namespace", "My_App"]),
        (&["--exclude-namespaces", "a,B"], &["--exclude-namespaces", "\"B\""]),
        (&["--namespace", "kube-system"], &["--namespace kube-system", "--exclude-namespaces"]),
        (&["--max-replicas", "many"], &["--max-replicas", "'many'"]),
        (&["--max-replicas", "-1"], &["--max-replicas", "-1 is negative"]),
        (&["--max-replicas", "2147483648"], &["--max-replicas", "2147483648"]),
        (&["--max-replicas", ""], &["--max-replicas"]),
        (&["--enforcement", "maybe"], &["--enforcement", "'maybe'", "enforce, ignore"]),
        (&["--log-level", "loud"], &["--log-level", "'loud'"]),
        (&["--log-format", "xml"], &["--log-format", "'xml'", "text, json"]),
        (&["--no-such-flag"], &["--no-such-flag"]),
        (&["no-such-command"], &["no-such-command"]),
        (&["--context"], &["--context"]),
    ];
    for (arguments, words) in cases {
        check(&standalone, arguments, words).await;
    }
}

#[tokio::test]
async fn a_bad_variable_is_refused_like_its_flag() {
    let standalone = Standalone::new();
    let taken = Taken::new();
    for (name, value, words) in [
        ("NAMESPACE", "My_App", ["--namespace", "My_App"]),
        ("NAMESPACE", "kube-public", ["--namespace kube-public", "--exclude-namespaces"]),
        ("EXCLUDE_NAMESPACES", "a,B", ["--exclude-namespaces", "\"B\""]),
        ("MAX_REPLICAS", "many", ["--max-replicas", "'many'"]),
        ("MAX_REPLICAS", "-1", ["--max-replicas", "-1 is negative"]),
        ("ENFORCEMENT", "maybe", ["--enforcement", "'maybe'"]),
        ("LOG_LEVEL", "loud", ["--log-level", "'loud'"]),
        ("KUBE_CONTEXT", "nowhere", ["--kubeconfig", "nowhere"]),
    ] {
        let options = standalone.options(&taken.with(&[])).variable(name, value);
        assert_contains(&refusal(&standalone, &options).await, &words);
    }
}

#[tokio::test]
async fn a_bad_kubeconfig_is_named() {
    let standalone = Standalone::new();
    let taken = Taken::new();
    let good = fs::read_to_string(standalone.kubeconfig()).unwrap();
    let files = [
        ("empty", String::new()),
        ("text", "no: [yaml".to_owned()),
        ("list", "[1, 2]".to_owned()),
        ("dangling", good.replace(r#""current-context":"silent""#, r#""current-context":"gone""#)),
        ("no-cluster", good.replace(r#""cluster":"silent""#, r#""cluster":"gone""#)),
        ("bad-url", good.replace("http://", "nonsense ")),
    ];
    for (name, text) in &files {
        fs::write(standalone.path(name), text).unwrap();
    }
    fs::create_dir(standalone.path("folder")).unwrap();
    for name in files.iter().map(|(name, _)| *name).chain(["missing", "folder"]) {
        let path = standalone.path(name);
        let line = refusal(&standalone, &standalone.options_with(&path, &taken.with(&[]))).await;
        assert_contains(&line, &["--kubeconfig", path.to_str().unwrap()]);
    }
    check(&standalone, &["--context", "nowhere"], &["--kubeconfig", "nowhere"]).await;
}

/// Writes a self-signed server certificate and its key.
fn write_certificate(standalone: &Standalone, name: &str, from: i32, to: i32) {
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    params.not_before = date_time_ymd(from, 1, 1);
    params.not_after = date_time_ymd(to, 1, 1);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate().unwrap();
    fs::write(standalone.path(&format!("{name}.crt")), params.self_signed(&key).unwrap().pem()).unwrap();
    fs::write(standalone.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
}

/// Writes the certificate of an unrelated authority.
fn write_authority(standalone: &Standalone, name: &str) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
    fs::write(standalone.path(&format!("{name}.crt")), certificate.pem()).unwrap();
}

/// Flags and their files, the file that the error names, and its message.
type Case<'a> = (&'a [(&'a str, &'a str)], &'a str, &'a str);

#[tokio::test]
async fn a_bad_certificate_is_named() {
    let standalone = Standalone::new();
    standalone.options(&[]).certificates().unwrap();
    write_certificate(&standalone, "expired", 2020, 2021);
    write_certificate(&standalone, "early", 2090, 2091);
    fs::write(standalone.path("text"), "-----BEGIN\n").unwrap();
    fs::write(standalone.path("empty"), "").unwrap();
    let (server, client) = ("certificates/server/server", "certificates/client/client");
    let [server_crt, server_key] = ["crt", "key"].map(|suffix| format!("{server}.{suffix}"));
    let [client_crt, client_key] = ["crt", "key"].map(|suffix| format!("{client}.{suffix}"));
    let (cert, key, ca) = ("--cert-file", "--key-file", "--ca-cert-file");
    write_authority(&standalone, "other");
    let clients = "--client-ca-file";
    let cases: [Case<'_>; 23] = [
        (&[(ca, "other.crt")], "other.crt", "does not chain to"),
        (&[(ca, "other.crt")], &server_crt, "does not chain to"),
        (&[(cert, "missing")], "missing", "does not exist"),
        (&[(key, "missing")], "missing", "does not exist"),
        (&[(ca, "missing")], "missing", "does not exist"),
        (&[(cert, "certificates")], "certificates", "cannot be read"),
        (&[(ca, "empty")], "empty", "is not PEM"),
        (&[(cert, "text")], "text", "PEM"),
        (&[(cert, "expired.crt"), (key, "expired.key")], "expired.crt", "expired at 2021-01-01T00:00:00Z"),
        (&[(cert, "early.crt"), (key, "early.key")], "early.crt", "is not valid before 2090-01-01T00:00:00Z"),
        (&[(ca, "expired.crt")], "expired.crt", "expired at"),
        (&[(ca, "early.crt")], "early.crt", "is not valid before"),
        (&[(key, &client_key)], &client_key, &server_crt),
        (&[(cert, &client_crt)], &client_crt, "is not for a server"),
        (&[(cert, &client_crt), (key, &client_key)], &client_crt, "is not for a server"),
        (&[(cert, &server_key)], &server_key, "a private key"),
        (&[(key, &server_crt)], &server_crt, "a certificate"),
        (&[(ca, &server_key)], &server_key, "a private key"),
        (&[(ca, &client_crt)], &client_crt, "is not a CA"),
        (&[(ca, &server_crt)], &server_crt, "is not a CA"),
        (&[(clients, "missing")], "missing", "does not exist"),
        (&[(clients, &server_crt)], &server_crt, "is not a CA"),
        (&[(clients, "other.crt"), (cert, &client_crt)], &client_crt, "is not for a server"),
    ];
    for (files, named, words) in cases {
        let paths = files.iter().map(|(flag, file)| (*flag, standalone.path(file)));
        let paths: Vec<_> = paths.map(|(flag, path)| (flag, path.to_str().unwrap().to_owned())).collect();
        let arguments: Vec<_> = paths.iter().flat_map(|(flag, path)| [*flag, path]).collect();
        check(&standalone, &arguments, &[standalone.path(named).to_str().unwrap(), words]).await;
    }
}

/// The names in a folder, except lock files.
fn contents(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| Path::new(name).extension().is_none_or(|extension| extension != "lock")).collect()
}

#[tokio::test]
async fn a_bad_settings_file_is_left_unchanged() {
    let standalone = Standalone::new();
    let folder = standalone.path("store");
    fs::create_dir(&folder).unwrap();
    let path = folder.join("replicas.json");
    // The error is at the mark, in the third line.
    let entry = |text: &str, words: &str| {
        let column = text.find('¦').unwrap();
        let second = text.replace('¦', "");
        let file = format!("[\n{{\"name\":\"web\",\"namespace\":\"a\",\"replicas\":1}},\n{second}\n]\n");
        (file.into_bytes(), format!("line 3, column {column}: {words}"))
    };
    let file = |text: &[u8], words: &str| (text.to_vec(), words.to_owned());
    let cases = [
        entry(r#"  {"name":"web","namespace":"a","replicas":1}¦"#, "a/web has an entry already"),
        entry(r#"{"name":"b","namespace":"a","owner":1,"owner"¦:2}"#, "duplicate field `owner`"),
        entry(r#"{"name":"b","name"¦:"c","namespace":"a","replicas":1}"#, "duplicate field `name`"),
        entry(r#"{"name":"B"¦,"namespace":"a","replicas":1}"#, r#"name "B" is not valid"#),
        entry(r#"{"name":"b","namespace":"a","replicas":-1¦}"#, "-1 is negative"),
        entry(r#"{"name":"b","namespace":"a"}¦"#, "missing field `replicas`"),
        entry("o¦ops", "expected value"),
        file(b"[\n  {\"name\":\"we", "line 2, column 13: EOF"),
        file(b"[]\n[]", "line 2, column 1: trailing characters"),
        file(b"\xff", "line 1, column 1: byte 0xff is not UTF-8"),
        file(b"", "line 1, column 1: the file is empty"),
    ];
    for (text, words) in cases {
        fs::write(&path, &text).unwrap();
        let path = path.to_str().unwrap();
        check(&standalone, &["--file-path", path], &[path, &words]).await;
        assert_eq!(fs::read(path).unwrap(), text);
        assert_eq!(contents(&folder), ["replicas.json"]);
    }
}

#[tokio::test]
async fn a_store_that_cannot_be_used_is_named() {
    let standalone = Standalone::new();
    fs::create_dir(standalone.path("folder")).unwrap();
    std::os::unix::fs::symlink(standalone.path("gone"), standalone.path("link")).unwrap();
    for (path, words) in [
        ("missing/replicas.json", ["missing", "cannot use the folder"]),
        ("kubeconfig/replicas.json", ["kubeconfig", "cannot use the folder"]),
        ("folder", ["folder", "is not a file"]),
        ("link", ["link", "cannot follow the link"]),
    ] {
        let path = standalone.path(path);
        check(&standalone, &["--file-path", path.to_str().unwrap()], &words).await;
    }
    assert!(!standalone.path("missing").exists() && !standalone.path("gone").exists());
}

#[tokio::test]
async fn a_second_server_on_the_same_file_is_refused() {
    let (standalone, second) = (Standalone::new(), Standalone::new());
    let options = standalone.options(&[]);
    let first = Manager::start(&options).await.unwrap();
    let path = options.store();
    let path = path.to_str().unwrap();
    check(&second, &["--file-path", path], &[path, "is in use"]).await;
    // Also through another path to the same file.
    let link = second.path("link");
    std::os::unix::fs::symlink(path.strip_suffix("/replicas.json").unwrap(), &link).unwrap();
    check(&second, &["--file-path", link.join("replicas.json").to_str().unwrap()], &["is in use"]).await;

    first.kill().unwrap();
    let successor = Manager::start(&second.options(&["--file-path", path])).await.unwrap();
    successor.kill().unwrap();
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let standalone = Standalone::new();
    let taken = Taken::new();
    for flag in ["--grpc-address", "--http-address"] {
        let options = standalone.options(&[flag, &taken.address]);
        let (status, log) = Manager::start_expecting_failure(&options).await.unwrap();
        assert_eq!(status.code(), Some(FAILED), "{log:?}");
        assert!(!log.iter().any(|line| line.contains("listening")), "{log:?}");
        assert_contains(log.last().unwrap(), &["replica-count-manager: ", flag, &taken.address, "in use"]);
    }
}
