//! Tests the acceptor with clients of every kind.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::aws_lc_rs::cipher_suite::{
    TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256,
};
use rustls::crypto::aws_lc_rs::kx_group::{MLKEM1024, SECP256R1, SECP384R1, X25519, X25519MLKEM768};
use rustls::crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs};
use rustls::version::{TLS12, TLS13};
use rustls::{AlertDescription, ClientConfig, SupportedCipherSuite};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::fixture::Certificates;
use super::server::{Server, alert, connect, end};
use crate::net::tls::acceptor::AcceptLimits;

#[tokio::test]
async fn a_valid_client_connects_with_its_identity() {
    let certificates = Certificates::new();
    certificates.client("alice", 0);
    let mut server = Server::start(&certificates, AcceptLimits::default()).await;
    let mut client = connect(server.address, certificates.client_config(Some("alice"))).await.unwrap();
    let mut connection = server.next().await;
    assert_eq!(&*connection.peer().identity.user, "alice");
    assert_eq!(connection.peer().identity.groups, ["ops", "dev"]);
    assert_eq!(connection.peer().address, client.get_ref().0.local_addr().unwrap());
    assert_eq!(client.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));

    client.write_all(b"ping").await.unwrap();
    let mut received = [0; 4];
    connection.read_exact(&mut received).await.unwrap();
    connection.write_all(b"pong").await.unwrap();
    connection.flush().await.unwrap();
    let mut answered = [0; 4];
    client.read_exact(&mut answered).await.unwrap();
    assert_eq!((&received, &answered), (b"ping", b"pong"));

    assert!(server.shows("connections_open 1"));
    drop(connection);
    assert!(server.shows("connections_open 0"));
    assert!(server.shows("connections_total 1"));
}

#[tokio::test]
async fn the_best_common_suite_and_group_are_used() {
    let certificates = Certificates::new();
    let mut server = Server::start(&certificates, AcceptLimits::default()).await;
    let mut check = async |suites: &[SupportedCipherSuite], groups: &[&'static dyn SupportedKxGroup]| {
        let provider = CryptoProvider {
            cipher_suites: suites.to_vec(),
            kx_groups: groups.to_vec(),
            ..aws_lc_rs::default_provider()
        };
        let config = certificates.client_config_of(Some("client"), &TLS13, provider);
        let client = connect(server.address, config).await.unwrap();
        server.next().await;
        let connection = client.get_ref().1;
        let suite = connection.negotiated_cipher_suite().unwrap().suite();
        let group = connection.negotiated_key_exchange_group().unwrap().name();
        assert_eq!((suite, group), (suites[0].suite(), groups[0].name()));
    };
    let all = [TLS13_AES_256_GCM_SHA384, TLS13_AES_128_GCM_SHA256, TLS13_CHACHA20_POLY1305_SHA256];
    for suites in [&all[..], &all[1..], &all[2..]] {
        check(suites, &[X25519]).await;
    }
    // Like browsers and Go, the client also offers the older group.
    check(&all, &[X25519MLKEM768, X25519]).await;
    check(&all, &[SECP256R1]).await;
    check(&all, &[SECP384R1]).await;

    let provider = CryptoProvider { kx_groups: vec![MLKEM1024], ..aws_lc_rs::default_provider() };
    let other = certificates.client_config_of(Some("client"), &TLS13, provider);
    assert_eq!(alert(&end(server.address, other).await), Some(AlertDescription::HandshakeFailure));
}

#[tokio::test]
async fn an_unknown_client_receives_an_alert_and_is_counted() {
    let certificates = Certificates::new();
    let foreign = Certificates::new();
    certificates.client("old", -366);
    certificates.client("early", 1);
    let check = async |client: Arc<ClientConfig>, expected: AlertDescription, reason: &str| {
        let server = Server::start(&certificates, AcceptLimits::default()).await;
        assert_eq!(alert(&end(server.address, client).await), Some(expected), "{reason}");
        server.wait_for_refusal(reason).await;
        assert!(server.shows("connections_total 0"));
    };
    let mixed = certificates.client_config_with(&foreign, "client");
    let server_as_client = certificates.client_config(Some("server"));
    let tls12 = certificates.client_config_of(Some("client"), &TLS12, aws_lc_rs::default_provider());
    let config = |name| certificates.client_config(name);
    check(config(None), AlertDescription::CertificateRequired, "no_client_certificate").await;
    check(mixed, AlertDescription::UnknownCA, "untrusted_client_certificate").await;
    check(server_as_client, AlertDescription::UnsupportedCertificate, "untrusted_client_certificate").await;
    check(config(Some("old")), AlertDescription::CertificateExpired, "expired_client_certificate").await;
    check(config(Some("early")), AlertDescription::CertificateExpired, "future_client_certificate").await;
    check(tls12, AlertDescription::ProtocolVersion, "no_tls_1_3").await;
}

#[tokio::test]
async fn a_client_without_a_name_of_its_own_is_closed() {
    let certificates = Certificates::new();
    for (name, common_name, reason) in
        [("nobody", None, "no_identity"), ("mallory", Some("spiffe://a/alice"), "uri_in_common_name")]
    {
        certificates.client_named(name, common_name);
        let server = Server::start(&certificates, AcceptLimits::default()).await;
        let error = end(server.address, certificates.client_config(Some(name))).await;
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{error}");
        server.wait_for_refusal(reason).await;
    }
}

#[tokio::test]
async fn a_client_that_does_not_trust_the_server_is_counted() {
    let (certificates, foreign) = (Certificates::new(), Certificates::new());
    let server = Server::start(&certificates, AcceptLimits::default()).await;
    end(server.address, foreign.client_config(Some("client"))).await;
    server.wait_for_refusal("refused_by_client").await;
}

#[tokio::test]
async fn a_connection_without_tls_is_counted() {
    let certificates = Certificates::new();
    let check = async |sent: &[u8], reason: &str| {
        let server = Server::start(&certificates, AcceptLimits::default()).await;
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(sent).await.unwrap();
        stream.shutdown().await.unwrap();
        server.wait_for_refusal(reason).await;
    };
    check(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "no_tls").await;
    check(b"", "disconnected").await;
}

#[tokio::test]
async fn a_slow_handshake_times_out() {
    let certificates = Certificates::new();
    let limits = AcceptLimits { handshake_timeout: Duration::from_millis(20), ..AcceptLimits::default() };
    let server = Server::start(&certificates, limits).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
    server.wait_for_refusal("timeout").await;
}

#[tokio::test]
async fn a_closed_connection_frees_its_slot() {
    let certificates = Certificates::new();
    let client = certificates.client_config(Some("client"));
    let limits = AcceptLimits { max_connections: 1, ..AcceptLimits::default() };
    let mut server = Server::start(&certificates, limits).await;
    let _first = connect(server.address, Arc::clone(&client)).await.unwrap();
    let connection = server.next().await;
    end(server.address, Arc::clone(&client)).await;
    server.wait_for_refusal("too_many_connections").await;

    drop(connection);
    let _second = connect(server.address, client).await.unwrap();
    server.next().await;
}

#[tokio::test]
async fn one_user_cannot_take_all_slots() {
    let certificates = Certificates::new();
    certificates.client("alice", 0);
    let client = certificates.client_config(Some("client"));
    let limits = AcceptLimits { max_connections_of_user: 1, ..AcceptLimits::default() };
    let mut server = Server::start(&certificates, limits).await;
    let _first = connect(server.address, Arc::clone(&client)).await.unwrap();
    let _connection = server.next().await;
    end(server.address, client).await;
    server.wait_for_refusal("too_many_connections").await;

    let _other = connect(server.address, certificates.client_config(Some("alice"))).await.unwrap();
    assert_eq!(&*server.next().await.peer().identity.user, "alice");
}

#[tokio::test]
async fn a_new_handshake_evicts_a_pending_one() {
    let certificates = Certificates::new();
    let limits = AcceptLimits { max_handshakes: 1, ..AcceptLimits::default() };
    let mut server = Server::start(&certificates, limits).await;
    let mut pending = TcpStream::connect(server.address).await.unwrap();
    let _client = connect(server.address, certificates.client_config(Some("client"))).await.unwrap();
    server.next().await;
    assert_eq!(pending.read(&mut [0; 1]).await.unwrap(), 0);
    server.wait_for_refusal("too_many_handshakes").await;
}

#[tokio::test]
async fn shutdown_closes_the_listener_and_keeps_connections() {
    let certificates = Certificates::new();
    let client = certificates.client_config(Some("client"));
    let mut server = Server::start(&certificates, AcceptLimits::default()).await;
    let mut open = connect(server.address, client).await.unwrap();
    let mut connection = server.next().await;
    let mut in_handshake = TcpStream::connect(server.address).await.unwrap();

    server.shutdown.cancel();
    assert!(server.connections.recv().await.is_none(), "the stream ends");
    assert_eq!(
        TcpStream::connect(server.address).await.unwrap_err().kind(),
        io::ErrorKind::ConnectionRefused
    );
    // Whether accepted or still queued, it ends.
    assert!(matches!(in_handshake.read(&mut [0; 1]).await, Ok(0) | Err(_)));
    connection.write_all(b"bye").await.unwrap();
    connection.flush().await.unwrap();
    let mut received = [0; 3];
    open.read_exact(&mut received).await.unwrap();
    assert_eq!(&received, b"bye");
}
