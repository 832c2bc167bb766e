//! Mutual TLS: who may connect, and who they are.
//!
//! [`load`] turns three files into a configuration, [`acceptor`] turns sockets into connections with a known
//! [`identity`]. TLS 1.3 only, HTTP/2 only, and a client certificate always.

pub mod acceptor;
mod connection;
mod files;
pub mod identity;
pub mod metrics;
mod refusal;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

pub use connection::{Connection, Peer};
pub use files::{Problem, TlsError, TlsFiles};
use files::{Role, Source};
use jiff::Timestamp;
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::{
    ClientHello, ParsedCertificate, ResolvesServerCert, ServerConfig, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, ConfigBuilder, Error, RootCertStore, WantsVerifier};
use x509_parser::prelude::{FromDer, X509Certificate};

/// Reads and checks the files, and makes the server's TLS configuration of them.
///
/// Depends on nothing but the files and the time, so it can be run again when the files have changed.
pub fn load(files: &TlsFiles) -> Result<Arc<ServerConfig>, TlsError> {
    let now = Timestamp::now();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let certificate = Source::read(Role::ServerCertificate, &files.cert)?;
    let key = Source::read(Role::ServerKey, &files.key)?;
    let ca = Source::read(Role::ClientCa, &files.ca)?;

    let certified = Arc::new(certified_key(&certificate, &key, &provider, now)?);
    let roots = Arc::new(roots(&ca, now)?);
    check_chain(&certificate, &certified.cert, &ca, &roots, &provider, now)?;
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider))
        .build()
        .map_err(|error| ca.problem(Problem::UnusableCertificate(error.to_string())))?;

    let mut config = builder(provider)
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(OneCertificate(certified)));
    config.alpn_protocols = vec![b"h2".to_vec()];
    // A resumed session would skip the check of the client's certificate, which may have expired since.
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

fn builder(provider: Arc<CryptoProvider>) -> ConfigBuilder<ServerConfig, WantsVerifier> {
    ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("aws-lc-rs has cipher suites of TLS 1.3")
}

/// The server has one certificate, whatever name the client asks for.
#[derive(Debug)]
struct OneCertificate(Arc<CertifiedKey>);

impl ResolvesServerCert for OneCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

fn certified_key(
    certificate: &Source,
    key: &Source,
    provider: &CryptoProvider,
    now: Timestamp,
) -> Result<CertifiedKey, TlsError> {
    let chain = certificate.certificates()?;
    check_server_certificate(certificate, &chain, now)?;
    let private_key: PrivateKeyDer<'static> = key.private_key()?;
    let signing_key = provider
        .key_provider
        .load_private_key(private_key)
        .map_err(|_| key.problem(Problem::UnsupportedKey))?;
    let certified = CertifiedKey::new(chain, signing_key);
    certified.keys_match().map_err(|_| key.problem(Problem::KeyMismatch(certificate.file().to_owned())))?;
    Ok(certified)
}

/// The first certificate of the file is the server's own; what follows are intermediates.
fn check_server_certificate(
    source: &Source,
    chain: &[CertificateDer<'_>],
    now: Timestamp,
) -> Result<(), TlsError> {
    let leaf = parse(source, &chain[0])?;
    source.check_validity(&leaf, now)?;
    let usage = leaf.extended_key_usage().map_err(|error| source.unusable(error))?;
    if usage.is_some_and(|usage| !usage.value.server_auth && !usage.value.any) {
        return Err(source.problem(Problem::NotForServers));
    }
    Ok(())
}

/// The server's own certificate must be signed by what clients are told to trust, or none of them could connect.
///
/// Whatever else a client may dislike about it is for the client to say.
fn check_chain(
    source: &Source,
    chain: &[CertificateDer<'_>],
    ca: &Source,
    roots: &RootCertStore,
    provider: &CryptoProvider,
    now: Timestamp,
) -> Result<(), TlsError> {
    let (leaf, intermediates) = chain.split_first().expect("a source has at least one certificate");
    let leaf = ParsedCertificate::try_from(leaf).map_err(|error| source.unusable(error))?;
    let algorithms = provider.signature_verification_algorithms.all;
    let now = UnixTime::since_unix_epoch(Duration::from_secs(now.as_second().unsigned_abs()));
    match verify_server_cert_signed_by_trust_anchor(&leaf, roots, intermediates, now, algorithms) {
        Err(Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature)) => {
            Err(source.problem(Problem::OtherAuthority(ca.file().to_owned())))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The CA bundle. Each of its certificates must be a CA that is valid now: a client certificate put here by mistake
/// would otherwise be noticed only when nobody can connect.
fn roots(source: &Source, now: Timestamp) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for der in source.certificates()? {
        let certificate = parse(source, &der)?;
        source.check_validity(&certificate, now)?;
        if !certificate.is_ca() {
            return Err(source.problem(Problem::NotCa(certificate.subject().to_string())));
        }
        roots.add(der.clone()).map_err(|error| source.unusable(error))?;
    }
    Ok(roots)
}

fn parse<'a>(source: &Source, der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, TlsError> {
    let (_, certificate) =
        X509Certificate::from_der(der).map_err(|_| source.problem(Problem::DamagedCertificate))?;
    Ok(certificate)
}
