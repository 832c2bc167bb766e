//! Each problem with a file is described in one line that names it.

use std::fs;

use super::fixture::Certificates;
use crate::net::tls::{Problem, load};

/// Checks the error of `load` after `spoil`, without the folder's name.
fn check(spoil: impl FnOnce(&Certificates), expected: &str) {
    let certificates = Certificates::new();
    spoil(&certificates);
    let error = load(&certificates.server()).expect_err(expected);
    let text = error.to_string().replace(&format!("{}/", certificates.folder().display()), "");
    assert_eq!(text, expected);
    assert!(!text.contains('\n'));
}

fn write(file: &'static str, text: impl AsRef<[u8]>) -> impl FnOnce(&Certificates) {
    move |certificates| fs::write(certificates.path(file), text).unwrap()
}

fn copy(from: &'static str, to: &'static str) -> impl FnOnce(&Certificates) {
    move |certificates| write(to, certificates.read(from))(certificates)
}

fn remove(file: &'static str) -> impl FnOnce(&Certificates) {
    move |certificates| fs::remove_file(certificates.path(file)).unwrap()
}

const CERT: &str = "server/server.crt";
const KEY: &str = "server/server.key";
const CA: &str = "server/ca.crt";

#[test]
fn valid_files_result_in_a_configuration() {
    let certificates = Certificates::new();
    let config = load(&certificates.server()).unwrap().server;
    assert_eq!(config.alpn_protocols, [b"h2"]);
    assert_eq!(config.send_tls13_tickets, 0);
}

#[test]
fn the_ca_file_must_contain_the_ca_of_the_server() {
    let (certificates, others) = (Certificates::new(), Certificates::new());
    write(CA, format!("{}{}", others.read("ca/ca.crt"), certificates.read("ca/ca.crt")))(&certificates);
    load(&certificates.server()).unwrap();
    check(
        write(CA, others.read("ca/ca.crt")),
        "server certificate server/server.crt: does not chain to an authority in server/ca.crt",
    );
}

#[test]
fn an_intermediate_links_the_server_to_its_ca() {
    let certificates = Certificates::new();
    let (chain, key) = certificates.server_signed_by_intermediate();
    write(KEY, key)(&certificates);
    write(CERT, chain.concat())(&certificates);
    load(&certificates.server()).unwrap();
    write(CERT, &chain[0])(&certificates);
    let error = load(&certificates.server()).expect_err("the intermediate is missing");
    assert!(matches!(error.problem(), Problem::OtherAuthority(_)), "{error}");
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let hint = "does not exist (`kubectl-replicas certs` creates certificates for development)";
    check(remove(CERT), &format!("server certificate server/server.crt: {hint}"));
    check(remove(KEY), &format!("server key server/server.key: {hint}"));
    check(remove(CA), &format!("client CA server/ca.crt: {hint}"));
    let replace_by_folder = |certificates: &Certificates| {
        remove(CA)(certificates);
        fs::create_dir(certificates.path(CA)).unwrap();
    };
    check(replace_by_folder, "client CA server/ca.crt: cannot be read: Is a directory (os error 21)");
    check(write(CA, vec![b'x'; 4_194_305]), "client CA server/ca.crt: is larger than 4194304 bytes");
}

#[test]
fn a_file_with_other_content_is_named() {
    let damaged = "-----BEGIN CERTIFICATE-----\n????\n-----END CERTIFICATE-----\n";
    let nonsense = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let nonsense_key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    check(write(CERT, "hello"), "server certificate server/server.crt: is not PEM");
    check(write(KEY, "hello"), "server key server/server.key: is not PEM");
    check(write(CA, ""), "client CA server/ca.crt: is not PEM");
    check(copy(KEY, CERT), "server certificate server/server.crt: holds no certificate, but a private key");
    check(copy(KEY, CA), "client CA server/ca.crt: holds no certificate, but a private key");
    check(copy(CERT, KEY), "server key server/server.key: holds no private key, but a certificate");
    check(
        write(CERT, damaged),
        "server certificate server/server.crt: is damaged PEM: base64 decode error: InvalidCharacter(63)",
    );
    check(write(CA, nonsense), "client CA server/ca.crt: holds a damaged certificate");
    check(
        write(KEY, nonsense_key),
        "server key server/server.key: holds a private key that is damaged or of an unsupported kind",
    );
    check(
        write(KEY, encrypted),
        "server key server/server.key: holds a private key with a passphrase; store it without one",
    );
}

#[test]
fn files_that_do_not_match_are_named() {
    check(
        copy("client/client.key", KEY),
        "server key server/server.key: is not the key of the certificate in server/server.crt",
    );
    check(
        copy("client/client.crt", CERT),
        "server certificate server/server.crt: is not for a server (its extended key usage lacks serverAuth)",
    );
    check(
        copy(CERT, CA),
        "client CA server/ca.crt: holds the certificate of `CN=replica-count-manager`, which is not a CA",
    );
}

#[test]
fn a_certificate_of_version_1_is_named() {
    // Of `openssl x509 -req -signkey`, without extensions.
    let old = "-----BEGIN CERTIFICATE-----\n\
        MIIBGDCBvwIUUsEn31DqQ30KFlFjsF62antSm3MwCgYIKoZIzj0EAwIwDjEMMAoG\n\
        A1UEAwwDb2xkMCAXDTI2MTEyNzEyMzYwMloYDzIxMjYxMTAzMTIzNjAyWjAOMQww\n\
        CgYDVQQDDANvbGQwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAQLamSW2tHSMAD8\n\
        ux4JNBKOb/BtXdct2e1XaHnWTsnJPyYyHYlWtl+Gfs8/RNno9VHEwAL+u5ltveI3\n\
        aD6lhHMMMAoGCCqGSM49BAMCA0gAMEUCIQDWM5sn3zL4hAwxwFIUo3zJcQ2VSh8t\n\
        zepL30N5qCn2HQIgZ05NO7mxQQT39LzmZOVf5bG490XDYM8EF+zFhDuc8Qs=\n\
        -----END CERTIFICATE-----\n";
    let what = "holds a certificate of X.509 version 1; make one of version 3, \
                for example with `openssl x509 -req -extfile FILE`";
    check(write(CERT, old), &format!("server certificate server/server.crt: {what}"));
    check(write(CA, old), &format!("client CA server/ca.crt: {what}"));
}

#[test]
fn the_validity_of_the_server_and_of_the_cas_is_checked() {
    let check_time = |file: &'static str, days_from_now: i64, expected: &str| {
        let other = Certificates::created(days_from_now);
        let certificates = Certificates::new();
        write(file, other.read(file))(&certificates);
        let error = load(&certificates.server()).expect_err(expected).to_string();
        let text = error.replace(&format!("{}/", certificates.folder().display()), "");
        // The rest is a time, which differs from run to run.
        assert!(text.starts_with(expected), "{text}");
    };
    check_time(CERT, -366, "server certificate server/server.crt: expired at 2");
    check_time(CERT, 1, "server certificate server/server.crt: is not valid before 2");
    check_time(CA, -366, "client CA server/ca.crt: expired at 2");
    check_time(CA, 1, "client CA server/ca.crt: is not valid before 2");
}
