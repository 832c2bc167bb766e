//! The acceptor survives a lack of file descriptors. The limit applies to the whole process, so this test is alone in
//! one.

use std::error::Error;
use std::fs::File;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use futures_util::StreamExt;
use prometheus_client::registry::Registry;
use replica_count_cli::certs::CertsArgs;
use replica_count_manager::net::tls::acceptor::{AcceptLimits, accept};
use replica_count_manager::net::tls::metrics::{CertificateMetrics, ConnectionMetrics};
use replica_count_manager::net::tls::reload::Reload;
use replica_count_manager::net::tls::{AuthorityFile, TlsFiles, load};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

/// Enough for the test itself, and quickly exhausted.
const FILES: u64 = 64;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    certs: CertsArgs,
}

#[tokio::test]
async fn the_acceptor_survives_a_lack_of_file_descriptors() -> Result<(), Box<dyn Error>> {
    let folder = TempDir::new()?;
    Cli::try_parse_from(["certs", "--dir", &folder.path().to_string_lossy()])?.certs.run()?;
    let server = folder.path().join("server");
    let files = TlsFiles {
        cert: server.join("server.crt"),
        key: server.join("server.key"),
        ca: AuthorityFile::OfBoth(server.join("ca.crt")),
    };
    let credentials = load(&files)?;
    let reload = Reload::new(files, credentials, CertificateMetrics::default());
    let client_config = client_config(&folder)?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let stream = TcpStream::connect(listener.local_addr()?).await?;
    let mut registry = Registry::default();
    let metrics = ConnectionMetrics::default();
    metrics.register(&mut registry);

    let exhausted = exhaust_files()?;
    let shutdown = CancellationToken::new();
    let mut incoming = pin!(accept(listener, reload.current(), AcceptLimits::default(), metrics, shutdown));
    let refused = async {
        while shows(&registry, "connections_refused_total{reason=\"io\"} 0") {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::select! {
        connection = incoming.next() => panic!("accepted without a file descriptor: {connection:?}"),
        () = refused => {}
    }

    drop(exhausted);
    let connecting = TlsConnector::from(client_config).connect("localhost".try_into()?, stream);
    let (client, connection) = tokio::join!(connecting, incoming.next());
    client?;
    assert_eq!(&*connection.ok_or("the acceptor has ended")??.peer().identity.user, "client");
    Ok(())
}

/// Opens files until no descriptor is left.
fn exhaust_files() -> std::io::Result<Vec<File>> {
    setrlimit(Resource::Nofile, Rlimit { current: Some(FILES), ..getrlimit(Resource::Nofile) })?;
    let mut files = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        files.push(file);
    }
    Ok(files)
}

fn shows(registry: &Registry, line: &str) -> bool {
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, registry).is_ok()
        && text.lines().any(|shown| shown == line)
}

fn client_config(folder: &TempDir) -> Result<Arc<ClientConfig>, Box<dyn Error>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(folder.path().join("ca/ca.crt"))?)?;
    let certificate = CertificateDer::from_pem_file(folder.path().join("client/client.crt"))?;
    let key = PrivateKeyDer::from_pem_file(folder.path().join("client/client.key"))?;
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![certificate], key)?;
    Ok(Arc::new(config))
}
