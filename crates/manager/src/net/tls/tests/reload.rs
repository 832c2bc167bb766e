//! Files that change while the server runs, and the effect on its clients.

use std::fs;
use std::io::Write;
use std::sync::{Arc, Mutex};

use jiff::{SignedDuration, Timestamp};
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tracing_subscriber::fmt::MakeWriter;

use super::fixture::Certificates;
use super::server::{Server, connect, end};
use crate::net::tls::acceptor::AcceptLimits;

const CERT: &str = "server/server.crt";
const KEY: &str = "server/server.key";
const CA: &str = "server/ca.crt";

impl Server {
    /// Polls the files once.
    fn poll(&mut self) {
        self.poll_at(Timestamp::now());
    }

    fn poll_at(&mut self, now: Timestamp) {
        self.reload.update(self.files.read(), now);
    }

    /// Polls the files as often as a change needs.
    fn poll_twice(&mut self) {
        self.poll();
        self.poll();
    }
}

/// Replaces the server's pair and its CA with those of `other`.
fn replace(certificates: &Certificates, other: &Certificates) {
    for file in [CERT, KEY, CA] {
        fs::write(certificates.path(file), other.read(file)).unwrap();
    }
}

/// The certificate that the server presents to a client.
async fn presented(server: &Server, certificates: &Certificates) -> CertificateDer<'static> {
    let client = connect(server.address, certificates.client_config(Some("client"))).await.unwrap();
    client.get_ref().1.peer_certificates().unwrap()[0].clone()
}

/// Runs `act` and returns what it logs.
fn logged(act: impl FnOnce()) -> String {
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
            Write::write(&mut *self.0.lock().unwrap(), text)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Log {
        type Writer = Self;

        fn make_writer(&self) -> Self {
            self.clone()
        }
    }

    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_writer(log.clone()).with_ansi(false).finish();
    tracing::subscriber::with_default(subscriber, act);
    String::from_utf8(log.0.lock().unwrap().clone()).unwrap()
}

#[tokio::test]
async fn a_new_set_is_used_after_two_equal_polls() {
    let (certificates, other) = (Certificates::new(), Certificates::new());
    let mut server = Server::start(&certificates, AcceptLimits::default()).await;
    let before = presented(&server, &certificates).await;
    fs::write(certificates.path(KEY), other.read(KEY)).unwrap();
    server.poll();
    replace(&certificates, &other);
    server.poll();
    assert_eq!(presented(&server, &certificates).await, before, "it may not be complete yet");
    server.poll();
    assert_ne!(presented(&server, &other).await, before);
    assert!(server.shows("certificate_reloads_total 1"));
    assert!(server.shows("certificate_reload_failures_total 0"));
}

#[tokio::test]
async fn an_invalid_set_is_logged_once_and_the_previous_one_stays() {
    let check = async |file: &str, text: fn(&Certificates) -> String, problem: &str| {
        let certificates = Certificates::new();
        let mut server = Server::start(&certificates, AcceptLimits::default()).await;
        let (before, valid) = (presented(&server, &certificates).await, certificates.read(file));
        fs::write(certificates.path(file), text(&certificates)).unwrap();
        let log = logged(|| (0..4).for_each(|_| server.poll()));
        assert_eq!(log.matches("WARN").count(), 1, "{log}");
        assert!(log.contains(problem), "{log}");
        assert!(server.shows("certificate_reload_failures_total 1"));
        assert!(server.shows("certificate_files_refused 1"));
        assert_eq!(presented(&server, &certificates).await, before);

        fs::write(certificates.path(file), valid).unwrap();
        assert_eq!(logged(|| server.poll_twice()), "");
        assert!(server.shows("certificate_files_refused 0"));
        assert!(server.shows("certificate_reloads_total 0"), "it is the one in use");
    };
    check(CERT, |certificates| certificates.read(CERT)[..300].to_owned(), "is damaged PEM").await;
    check(KEY, |certificates| certificates.read("client/client.key"), "is not the key of the certificate")
        .await;
    check(CA, |_| Certificates::new().read(CA), "does not chain to an authority").await;
    check(CA, |_| String::new(), "is not PEM").await;
}

#[tokio::test]
async fn a_refused_set_is_used_once_it_is_valid() {
    let (certificates, tomorrow) = (Certificates::new(), Certificates::created(1));
    let mut server = Server::start(&certificates, AcceptLimits::default()).await;
    replace(&certificates, &tomorrow);
    server.poll_twice();
    assert!(server.shows("certificate_files_refused 1"));
    server.poll_at(Timestamp::now() + SignedDuration::from_hours(24));
    assert!(server.shows("certificate_files_refused 0"));
    assert!(server.shows("certificate_reloads_total 1"));
}

#[tokio::test]
async fn the_expiry_is_shown_and_logged_with_each_warning() {
    let (certificates, next) = (Certificates::new(), Certificates::created(1));
    let mut server = Server::start(&certificates, AcceptLimits::default()).await;
    let expires = server.reload.current().borrow().server_validity.not_after;
    let line = |certificate, at: Timestamp| {
        format!(
            "certificate_expiration_timestamp_seconds{{certificate=\"{certificate}\"}} {}",
            at.as_second()
        )
    };
    for certificate in ["server", "ca"] {
        assert!(server.shows(&line(certificate, expires)));
    }
    let days_before = |days: i64| expires - SignedDuration::from_hours(24 * days);
    let mut check = |now: Timestamp, message: &str, count: usize| {
        let log = logged(|| server.poll_at(now));
        // One for the server's certificate and one for the CA's.
        assert_eq!(log.matches(message).count(), 2 * count, "{log}");
        assert_eq!(log.lines().count(), 2 * count, "{log}");
    };
    check(days_before(31), "expire", 0);
    check(days_before(30), "a certificate expires soon", 1);
    check(days_before(29), "expire", 0);
    check(days_before(7), "a certificate expires soon", 1);
    check(days_before(1), "a certificate expires soon", 1);
    check(expires + SignedDuration::from_secs(1), "a certificate has expired", 1);
    check(expires + SignedDuration::from_secs(2), "expire", 0);

    replace(&certificates, &next);
    server.poll_at(expires);
    let log = logged(|| server.poll_at(expires));
    assert_eq!(log.matches("a certificate expires soon").count(), 2, "the new one expires in a day: {log}");
    let renewed = server.reload.current().borrow().server_validity.not_after;
    assert!(renewed > expires + SignedDuration::from_hours(23), "{renewed}");
    assert!(server.shows(&line("server", renewed)));
}

#[tokio::test]
async fn clients_of_a_removed_ca_are_disconnected_and_others_stay() {
    let (ours, theirs) = (Certificates::new(), Certificates::new());
    fs::write(ours.path(CA), ours.read("ca/ca.crt") + &theirs.read("ca/ca.crt")).unwrap();
    let mut server = Server::start(&ours, AcceptLimits::default()).await;
    let mut kept_client = connect(server.address, ours.client_config(Some("client"))).await.unwrap();
    let mut kept = server.next().await;
    let other_client = ours.client_config_with(&theirs, "client");
    let _removed_client = connect(server.address, Arc::clone(&other_client)).await.unwrap();
    let mut removed = server.next().await;
    // The task of a connection waits for something to read.
    let ended = tokio::spawn(async move { removed.read_u8().await });

    fs::write(ours.path(CA), ours.read("ca/ca.crt")).unwrap();
    server.poll_twice();
    assert_eq!(ended.await.unwrap().unwrap_err().kind(), std::io::ErrorKind::ConnectionAborted);
    server.wait_for("connections_ended_total{reason=\"untrusted_client_certificate\"} 1").await;
    server.wait_for("connections_open 1").await;
    end(server.address, other_client).await;
    server.wait_for_refusal("untrusted_client_certificate").await;

    kept_client.write_all(b"x").await.unwrap();
    assert_eq!(kept.read_u8().await.unwrap(), b'x');
    kept.write_all(b"y").await.unwrap();
    kept.flush().await.unwrap();
    assert_eq!(kept_client.read_u8().await.unwrap(), b'y');
}

#[tokio::test]
async fn a_client_is_disconnected_when_its_certificate_expires() {
    let certificates = Certificates::new();
    certificates.client_that_expires_in("brief", SignedDuration::from_secs(2));
    let mut server = Server::start(&certificates, AcceptLimits::default()).await;
    let _client = connect(server.address, certificates.client_config(Some("brief"))).await.unwrap();
    let mut connection = server.next().await;
    assert_eq!(connection.read_u8().await.unwrap_err().kind(), std::io::ErrorKind::ConnectionAborted);
    server.wait_for("connections_ended_total{reason=\"expired_client_certificate\"} 1").await;
    assert_eq!(connection.write_u8(0).await.unwrap_err().kind(), std::io::ErrorKind::ConnectionAborted);
}
