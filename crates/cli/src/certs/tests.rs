//! Checks the files on disk with a different library than the one that wrote them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use clap::Parser;
use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;
use x509_parser::extensions::GeneralName;
use x509_parser::pem::Pem;
use x509_parser::x509::AttributeTypeAndValue;

use super::CertsArgs;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    certs: CertsArgs,
}

/// Runs `certs` with `arguments` in the folder at `now`. Returns its output or its error, both without the folder's
/// name.
fn run_at(folder: &Path, now: Timestamp, arguments: &str) -> Result<String, String> {
    let arguments = ["certs"].into_iter().chain(arguments.split_whitespace());
    let cli = Cli::try_parse_from(arguments.chain(["--dir", &folder.to_string_lossy()]))
        .map_err(|error| error.to_string())?;
    let mut out = Vec::new();
    let relative = |text: &str| text.replace(&folder.display().to_string(), "certificates");
    cli.certs.create(now, &mut out).map_err(|error| relative(&error.to_string()))?;
    Ok(relative(&String::from_utf8(out).unwrap()))
}

fn run(folder: &Path, arguments: &str) -> Result<String, String> {
    run_at(folder, Timestamp::now(), arguments)
}

fn days(days: i64) -> SignedDuration {
    SignedDuration::from_hours(24 * days)
}

fn pem(file: &Path) -> Pem {
    x509_parser::pem::parse_x509_pem(&fs::read(file).unwrap()).unwrap().1
}

/// All files below the folder, with their modes.
fn files(folder: &Path) -> Vec<String> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        for file in fs::read_dir(entry.path()).unwrap().map(Result::unwrap) {
            let mode = file.metadata().unwrap().permissions().mode() & 0o777;
            let path = file.path();
            files.push(format!("{} {mode:o}", path.strip_prefix(folder).unwrap().display()));
        }
    }
    files.sort();
    files
}

#[test]
fn the_first_run_creates_all_files_that_the_readme_uses() {
    let folder = TempDir::new().unwrap();
    let printed = run(folder.path(), "").unwrap();
    assert_eq!(
        files(folder.path()),
        [
            "ca/ca.crt 644",
            "ca/ca.key 600",
            "client/client.crt 644",
            "client/client.key 600",
            "server/ca.crt 644",
            "server/server.crt 644",
            "server/server.key 600",
        ]
    );
    assert_eq!(
        printed,
        "wrote certificates/ca/ca.key\n\
         wrote certificates/ca/ca.crt\n\
         wrote certificates/server/ca.crt\n\
         wrote certificates/server/server.key\n\
         wrote certificates/server/server.crt\n\
         wrote certificates/client/client.key\n\
         wrote certificates/client/client.crt\n\
         Next, start the server:\n  \
         replica-count-manager --cert-file certificates/server/server.crt \
         --key-file certificates/server/server.key --ca-cert-file certificates/server/ca.crt\n\
         and list its services:\n  \
         grpcurl -cacert certificates/ca/ca.crt -cert certificates/client/client.crt \
         -key certificates/client/client.key localhost:8080 list\n"
    );
}

#[test]
fn each_certificate_has_the_usages_it_needs_and_no_others() {
    let folder = TempDir::new().unwrap();
    let now = Timestamp::now();
    run_at(folder.path(), now, "--days 30").unwrap();
    let check = |file: &str, ca: Option<u32>, usages: &str, server: bool, client: bool| {
        let pem = pem(&folder.path().join(file));
        let certificate = pem.parse_x509().unwrap();
        let constraints = certificate.basic_constraints().unwrap().map(|extension| extension.value);
        let path_length = constraints.filter(|constraints| constraints.ca);
        assert_eq!(path_length.map(|constraints| constraints.path_len_constraint), ca.map(Some), "{file}");
        assert_eq!(certificate.key_usage().unwrap().unwrap().value.to_string(), usages, "{file}");
        let extended = certificate.extended_key_usage().unwrap().map(|extension| extension.value);
        assert_eq!(extended.is_some_and(|usage| usage.server_auth), server, "{file}");
        assert_eq!(extended.is_some_and(|usage| usage.client_auth), client, "{file}");
        let validity = certificate.validity();
        assert_eq!(validity.not_before.timestamp(), (now - SignedDuration::from_mins(5)).as_second());
        assert_eq!(validity.not_after.timestamp(), (now + days(30)).as_second(), "{file}");
        assert_eq!(certificate.public_key().parsed().unwrap().key_size(), 256, "{file}");
    };
    check("ca/ca.crt", Some(0), "Key Cert Sign, CRL Sign", false, false);
    check("server/server.crt", None, "Digital Signature", true, false);
    check("client/client.crt", None, "Digital Signature", false, true);
}

#[test]
fn the_server_has_its_usual_names_and_each_host() {
    let folder = TempDir::new().unwrap();
    run(folder.path(), "--host replicas.example.com --host 192.0.2.10 --host localhost").unwrap();
    let pem = pem(&folder.path().join("server/server.crt"));
    let certificate = pem.parse_x509().unwrap();
    let names = certificate.subject_alternative_name().unwrap().unwrap().value;
    let names: Vec<_> = names
        .general_names
        .iter()
        .map(|name| match name {
            GeneralName::DNSName(name) => (*name).to_owned(),
            GeneralName::IPAddress(bytes) => format!("{bytes:?}"),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        names,
        [
            "localhost",
            "[127, 0, 0, 1]",
            "[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]",
            "replica-count-manager",
            "replica-count-manager.replica-count-manager",
            "replica-count-manager.replica-count-manager.svc",
            "replicas.example.com",
            "[192, 0, 2, 10]",
        ]
    );
}

/// The common names, organizations and URIs of a certificate, from which the server takes user and groups.
fn identity(file: &Path) -> [Vec<String>; 3] {
    let pem = pem(file);
    let certificate = pem.parse_x509().unwrap();
    let texts = |attribute: &AttributeTypeAndValue<'_>| attribute.as_str().unwrap().to_owned();
    let names = certificate.subject_alternative_name().unwrap();
    let names = names.map(|extension| extension.value.general_names.as_slice()).unwrap_or_default();
    let uris = names.iter().map(|name| match name {
        GeneralName::URI(uri) => (*uri).to_owned(),
        other => panic!("{other:?}"),
    });
    let subject = certificate.subject();
    [
        subject.iter_common_name().map(texts).collect(),
        subject.iter_organization().map(texts).collect(),
        uris.collect(),
    ]
}

#[test]
fn another_user_has_a_name_and_any_number_of_groups() {
    let folder = TempDir::new().unwrap();
    run(folder.path(), "").unwrap();
    let check = |arguments: &str, name: &str, groups: &[&str], uris: &[&str]| {
        run(folder.path(), arguments).unwrap();
        let expected = [&[name], groups, uris].map(<[&str]>::to_vec);
        assert_eq!(identity(&folder.path().join(format!("{name}/{name}.crt"))), expected);
    };
    check("client --name bob", "bob", &[], &[]);
    check("client --name alice --group ops", "alice", &["ops"], &[]);
    check("client --name eve --group a --group b --group c", "eve", &["a", "b", "c"], &[]);
    check("client --name ci --uri spiffe://example.org/ci", "ci", &[], &["spiffe://example.org/ci"]);
    check("client --name client --group ops --force", "client", &["ops"], &[]);
}

#[test]
fn nothing_is_replaced_without_force() {
    let check = |arguments: &str, existing: &str| {
        let folder = TempDir::new().unwrap();
        if arguments.starts_with("client") {
            run(folder.path(), "").unwrap();
        }
        let file = folder.path().join(existing);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, "precious").unwrap();
        let before = files(folder.path());
        let refused = format!("certificates/{existing} exists; nothing was written (--force replaces it)");
        assert_eq!(run(folder.path(), arguments), Err(refused));
        assert_eq!(files(folder.path()), before);
        assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
        run(folder.path(), &format!("{arguments} --force")).unwrap();
        assert_ne!(fs::read_to_string(&file).unwrap(), "precious");
    };
    check("", "ca/ca.crt");
    check("", "ca/ca.key");
    check("", "server/ca.crt");
    check("", "client/client.key");
    check("client --name alice", "alice/alice.crt");
    check("client --name alice", "alice/alice.key");
}

#[test]
fn a_file_that_cannot_be_written_leaves_all_others_unchanged() {
    let folder = TempDir::new().unwrap();
    run(folder.path(), "").unwrap();
    let read = || fs::read_to_string(folder.path().join("ca/ca.key")).unwrap();
    let (before, key) = (files(folder.path()), read());
    fs::remove_dir_all(folder.path().join("client")).unwrap();
    fs::write(folder.path().join("client"), "in the way").unwrap();
    let error = run(folder.path(), "--force").unwrap_err();
    assert!(error.starts_with("cannot write certificates/client/client.key: "), "{error}");
    fs::remove_file(folder.path().join("client")).unwrap();
    assert_eq!(read(), key);
    let remaining: Vec<_> = before.into_iter().filter(|file| !file.starts_with("client/")).collect();
    assert_eq!(files(folder.path()), remaining, "a temporary file is left");
}

#[test]
fn another_user_needs_a_complete_authority() {
    let check = |spoil: &dyn Fn(&Path), expected: &str| {
        let folder = TempDir::new().unwrap();
        run(folder.path(), "").unwrap();
        spoil(&folder.path().join("ca"));
        assert_eq!(run(folder.path(), "client --name alice"), Err(expected.to_owned()));
        assert!(!folder.path().join("alice").exists());
    };
    let copy = |from: &'static str, to: &'static str| {
        move |ca: &Path| {
            fs::copy(ca.join("..").join(from), ca.join(to)).unwrap();
        }
    };
    check(
        &|ca| fs::remove_dir_all(ca).unwrap(),
        "no CA here: certificates/ca/ca.crt does not exist; create it first with `kubectl-replicas certs`",
    );
    check(
        &|ca| fs::remove_file(ca.join("ca.key")).unwrap(),
        "no CA here: certificates/ca/ca.key does not exist; create it first with `kubectl-replicas certs`",
    );
    check(
        &|ca| fs::write(ca.join("ca.key"), "x").unwrap(),
        "certificates/ca/ca.key: holds no private key as PEM",
    );
    check(
        &|ca| fs::write(ca.join("ca.crt"), "x").unwrap(),
        "certificates/ca/ca.crt: holds no certificate as PEM",
    );
    check(
        &copy("client/client.key", "ca.key"),
        "certificates/ca/ca.key: is not the key of the certificate in certificates/ca/ca.crt",
    );
    check(
        &|ca| {
            copy("client/client.key", "ca.key")(ca);
            copy("client/client.crt", "ca.crt")(ca);
        },
        "certificates/ca/ca.crt: is not the certificate of a CA",
    );
}

#[test]
fn no_certificate_outlives_its_authority() {
    let folder = TempDir::new().unwrap();
    let start = Timestamp::from_second(1_800_000_000).unwrap();
    run_at(folder.path(), start, "").unwrap();
    run_at(folder.path(), start + days(300), "client --name alice").unwrap();
    let pem = pem(&folder.path().join("alice/alice.crt"));
    let not_after = pem.parse_x509().unwrap().validity().not_after.timestamp();
    assert_eq!(not_after, (start + days(365)).as_second());
    assert_eq!(
        run_at(folder.path(), start + days(365), "client --name bob"),
        Err("certificates/ca/ca.crt: expired at 2028-01-15T08:00:00Z; \
             `kubectl-replicas certs --force` creates a new CA"
            .to_owned())
    );
}

#[test]
fn arguments_are_checked_before_anything_is_created() {
    let check = |arguments: &str, expected: &str| {
        let folder = TempDir::new().unwrap();
        let error = run(folder.path(), arguments).unwrap_err();
        assert!(error.contains(expected), "{arguments}: {error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    };
    check("client", "--name <NAME>");
    check("client --name ../alice", "must begin with a letter or a digit");
    check("client --name a/b", "only letters, digits and . _ - @");
    check("client --name .hidden", "must begin with a letter or a digit");
    check("client --name ca", "the folder `ca` does not belong to a user");
    check("client --name Server", "the folder `Server` does not belong to a user");
    check(&format!("client --name {}", "a".repeat(65)), "longer than 64 characters");
    check(&format!("client --name a --group {}", "g".repeat(65)), "longer than 64 characters");
    check("client --name a --uri alice", "not a URI");
    check("client --name a --uri ://alice", "not a URI");
    check("--host not_a/host", "not a DNS name or an IP address");
    check("--host example.com.", "not a DNS name or an IP address");
    check("--days 0", "0 is not in 1..=3650");
    check("--host example.com client --name a", "cannot be used with");
}
