//! Each problem with a file is described in one line that names it.

use std::fs;

use replica_count_client::{Address, Credentials, Endpoint};

use super::fixture::Certificates;

/// Checks the error of `load` after `spoil`, without the folder's name.
#[track_caller]
fn check(spoil: impl FnOnce(&Certificates), expected: &str) {
    let certificates = Certificates::new();
    spoil(&certificates);
    let error = certificates.files().load().unwrap_err();
    let text = error.to_string().replace(&format!("{}/", certificates.folder().display()), "");
    assert_eq!(text, expected);
}

fn write(file: &'static str, text: &'static str) -> impl FnOnce(&Certificates) {
    move |certificates| certificates.write(file, text)
}

fn copy(from: &'static str, to: &'static str) -> impl FnOnce(&Certificates) {
    move |certificates| certificates.write(to, certificates.read(from))
}

#[test]
fn valid_files_are_accepted_and_never_shown() {
    let credentials = Certificates::new().files().load().unwrap();
    assert_eq!(format!("{credentials:?}"), "Credentials { .. }");
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    for file in ["ca.crt", "client.crt", "client.key"] {
        check(
            |certificates| fs::remove_file(certificates.path(file)).unwrap(),
            &format!(
                "{file}: does not exist (`kubectl-replicas certs` creates certificates for development)"
            ),
        );
    }
    check(
        |certificates| {
            fs::remove_file(certificates.path("client.key")).unwrap();
            fs::create_dir(certificates.path("client.key")).unwrap();
        },
        "client.key: cannot be read: Is a directory (os error 21)",
    );
}

#[test]
fn a_file_with_other_content_is_named() {
    check(write("ca.crt", ""), "ca.crt: holds no certificate (PEM)");
    check(write("client.crt", "hello"), "client.crt: holds no certificate (PEM)");
    check(write("client.key", "hello"), "client.key: holds no private key (PEM)");
    check(copy("client.key", "ca.crt"), "ca.crt: holds no certificate (PEM)");
    check(copy("client.crt", "client.key"), "client.key: holds no private key (PEM)");
    check(copy("server.key", "client.key"), "client.key: is not the key of the certificate in client.crt");
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    check(
        write("client.key", encrypted),
        "client.key: holds a private key with a passphrase; store it without one",
    );
}

#[test]
fn a_damaged_file_is_named() {
    let damaged = "-----BEGIN CERTIFICATE-----\n????\n-----END CERTIFICATE-----\n";
    let nonsense = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let damaged_key = "-----BEGIN PRIVATE KEY-----\n????\n-----END PRIVATE KEY-----\n";
    let nonsense_key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let base64 = "is damaged PEM: base64 decode error: InvalidCharacter(63)";
    check(write("ca.crt", damaged), &format!("ca.crt: {base64}"));
    check(write("ca.crt", nonsense), "ca.crt: holds a damaged certificate");
    check(write("client.crt", damaged), &format!("client.crt: {base64}"));
    check(write("client.crt", nonsense), "client.crt: holds a damaged certificate");
    check(write("client.key", damaged_key), &format!("client.key: {base64}"));
    check(
        write("client.key", nonsense_key),
        "client.key: holds a private key that is damaged or of an unsupported kind",
    );
}

#[test]
fn pem_without_a_file_is_named_by_its_purpose() {
    let certificates = Certificates::new();
    let [authority, certificate, key] =
        ["ca.crt", "client.crt", "client.key"].map(|file| certificates.read(file).into_bytes());
    Credentials::from_pem(&authority, &certificate, &key).unwrap();
    let refused = |authority, certificate, key| {
        Credentials::from_pem(authority, certificate, key).unwrap_err().to_string()
    };
    assert_eq!(refused(b"", &certificate, &key), "the CA's certificate: holds no certificate (PEM)");
    assert_eq!(refused(&authority, &key, &key), "the client's certificate: holds no certificate (PEM)");
    assert_eq!(refused(&authority, &certificate, b""), "the client's key: holds no private key (PEM)");
    let other = certificates.read("server.key").into_bytes();
    assert_eq!(
        refused(&authority, &certificate, &other),
        "the client's key: is not the key of the certificate in the client's certificate"
    );
}

#[test]
fn an_invalid_server_name_is_refused() {
    let credentials = Certificates::new().files().load().unwrap();
    let address: Address = "[::1]:8080".parse().unwrap();
    Endpoint::new(&address, &credentials, None).unwrap();
    Endpoint::new(&address, &credentials, Some("::1")).unwrap();
    for name in ["", "not a name", "[::1]", "localhost:8080"] {
        let error = Endpoint::new(&address, &credentials, Some(name)).unwrap_err().to_string();
        assert_eq!(
            error,
            format!(
                "the server's certificate cannot have the name {name:?}: it is not a DNS name or an IP address"
            )
        );
    }
}
