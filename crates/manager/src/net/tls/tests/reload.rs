//! Files that change while the server runs, and what becomes of its clients.

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
    /// Looks at the files once.
    fn look(&mut self) {
        self.look_at(Timestamp::now());
    }

    fn look_at(&mut self, now: Timestamp) {
        self.reload.follow(self.files.read(), now);
    }

    /// Looks as often as a change needs.
    fn look_twice(&mut self) {
        self.look();
        self.look();
    }
}

/// Replaces the server's pair and its CA by those of `other`.
fn replace(certificates: &Certificates, other: &Certificates) {
    for file in [CERT, KEY, CA] {
        fs::write(certificates.path(file), other.read(file)).unwrap();
    }
}

/// The certificate that the server shows to a client of these.
async fn shown(server: &Server, certificates: &Certificates) -> CertificateDer<'static> {
    let client = connect(server.address, certificates.client_config(Some("client"))).await.unwrap();
    client.get_ref().1.peer_certificates().unwrap()[0].clone()
}

/// What is logged meanwhile.
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
async fn a_new_set_is_used_when_two_looks_see_the_same() {
    let (certificates, other) = (Certificates::new(), Certificates::new());
    let mut server = Server::start(&certificates, AcceptLimits::default()).await;
    let before = shown(&server, &certificates).await;
    fs::write(certificates.path(KEY), other.read(KEY)).unwrap();
    server.look();
    replace(&certificates, &other);
    server.look();
    assert_eq!(shown(&server, &certificates).await, before, "it may not be complete yet");
    server.look();
    assert_ne!(shown(&server, &other).await, before);
    assert!(server.shows("certificate_reloads_total 1"));
    assert!(server.shows("certificate_reload_failures_total 0"));
}

#[tokio::test]
async fn a_bad_set_is_told_once_and_the_one_before_stays() {
    let check = async |file: &str, text: fn(&Certificates) -> String, problem: &str| {
        let certificates = Certificates::new();
        let mut server = Server::start(&certificates, AcceptLimits::default()).await;
        let (before, good) = (shown(&server, &certificates).await, certificates.read(file));
        fs::write(certificates.path(file), text(&certificates)).unwrap();
        let log = logged(|| (0..4).for_each(|_| server.look()));
        assert_eq!(log.matches("WARN").count(), 1, "{log}");
        assert!(log.contains(problem), "{log}");
        assert!(server.shows("certificate_reload_failures_total 1"));
        assert!(server.shows("certificate_files_refused 1"));
        assert_eq!(shown(&server, &certificates).await, before);

        fs::write(certificates.path(file), good).unwrap();
        assert_eq!(logged(|| server.look_twice()), "");
        assert!(server.shows("certificate_files_refused 0"));
        assert!(server.shows("certificate_reloads_total 0"), "it is the one in use");
    };
    check(CERT, |good| good.read(CERT)[..300].to_owned(), "is damaged PEM").await;
    check(KEY, |good| good.read("client/client.key"), "is not the key of the certificate").await;
    check(CA, |_| Certificates::new().read(CA), "does not chain to an authority").await;
    check(CA, |_| String::new(), "is not PEM").await;
}

#[tokio::test]
async fn what_was_refused_is_used_when_its_time_comes() {
    let (certificates, tomorrow) = (Certificates::new(), Certificates::made(1));
    let mut server = Server::start(&certificates, AcceptLimits::default()).await;
    replace(&certificates, &tomorrow);
    server.look_twice();
    assert!(server.shows("certificate_files_refused 1"));
    server.look_at(Timestamp::now() + SignedDuration::from_hours(24));
    assert!(server.shows("certificate_files_refused 0"));
    assert!(server.shows("certificate_reloads_total 1"));
}

#[tokio::test]
async fn the_end_is_shown_and_told_with_each_notice() {
    let (certificates, next) = (Certificates::new(), Certificates::made(1));
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
    let mut check = |now: Timestamp, words: &str, count: usize| {
        let log = logged(|| server.look_at(now));
        // Of the server's certificate and of the CA's.
        assert_eq!(log.matches(words).count(), 2 * count, "{log}");
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
    server.look_at(expires);
    let log = logged(|| server.look_at(expires));
    assert_eq!(
        log.matches("a certificate expires soon").count(),
        2,
        "the next one is a day from its end: {log}"
    );
    let renewed = server.reload.current().borrow().server_validity.not_after;
    assert!(renewed > expires + SignedDuration::from_hours(23), "{renewed}");
    assert!(server.shows(&line("server", renewed)));
}

#[tokio::test]
async fn clients_of_an_authority_that_is_gone_are_cut_and_others_stay() {
    let (ours, theirs) = (Certificates::new(), Certificates::new());
    fs::write(ours.path(CA), ours.read("ca/ca.crt") + &theirs.read("ca/ca.crt")).unwrap();
    let mut server = Server::start(&ours, AcceptLimits::default()).await;
    let mut stays = connect(server.address, ours.client_config(Some("client"))).await.unwrap();
    let mut staying = server.next().await;
    let guest = ours.client_config_with(&theirs, "client");
    let _goes = connect(server.address, Arc::clone(&guest)).await.unwrap();
    let mut going = server.next().await;
    // The task of a connection waits for something to read.
    let cut = tokio::spawn(async move { going.read_u8().await });

    fs::write(ours.path(CA), ours.read("ca/ca.crt")).unwrap();
    server.look_twice();
    assert_eq!(cut.await.unwrap().unwrap_err().kind(), std::io::ErrorKind::ConnectionAborted);
    server.wait_for("connections_ended_total{reason=\"untrusted_client_certificate\"} 1").await;
    server.wait_for("connections_open 1").await;
    end(server.address, guest).await;
    server.wait_for_refusal("untrusted_client_certificate").await;

    stays.write_all(b"x").await.unwrap();
    assert_eq!(staying.read_u8().await.unwrap(), b'x');
    staying.write_all(b"y").await.unwrap();
    staying.flush().await.unwrap();
    assert_eq!(stays.read_u8().await.unwrap(), b'y');
}

#[tokio::test]
async fn a_client_is_cut_when_its_certificate_expires() {
    let certificates = Certificates::new();
    certificates.client_that_expires_in("brief", SignedDuration::from_secs(2));
    let mut server = Server::start(&certificates, AcceptLimits::default()).await;
    let _client = connect(server.address, certificates.client_config(Some("brief"))).await.unwrap();
    let mut connection = server.next().await;
    assert_eq!(connection.read_u8().await.unwrap_err().kind(), std::io::ErrorKind::ConnectionAborted);
    server.wait_for("connections_ended_total{reason=\"expired_client_certificate\"} 1").await;
    assert_eq!(connection.write_u8(0).await.unwrap_err().kind(), std::io::ErrorKind::ConnectionAborted);
}
