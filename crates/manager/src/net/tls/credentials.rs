//! The credentials from the files: the TLS configuration of the server, and the trusted CAs.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::aws_lc_rs::cipher_suite::{
    TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256,
};
use rustls::crypto::aws_lc_rs::kx_group::{SECP256R1, SECP384R1, X25519, X25519MLKEM768};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{
    ClientHello, ParsedCertificate, ResolvesServerCert, ServerConfig, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, ConfigBuilder, Error, RootCertStore, WantsVerifier};
use x509_parser::prelude::{FromDer, X509Certificate, X509Version};

use super::expiry::Validity;
use super::files::{AuthorityFile, Contents, Problem, Role, Source, TlsError, TlsFiles};
use crate::clock;

/// The credentials from a checked set of files. They are only replaced as a whole.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The TLS configuration for handshakes.
    pub(super) server: Arc<ServerConfig>,
    /// Verifies the certificates of clients.
    pub(super) clients: Arc<dyn ClientCertVerifier>,
    /// When the server's certificate chain is valid.
    pub(super) server_validity: Validity,
    /// When all CAs are valid.
    pub(super) ca_validity: Validity,
    /// The digest of the files it was created from.
    pub(super) digest: u64,
}

/// Reads and checks the files.
pub fn load(files: &TlsFiles) -> Result<Credentials, TlsError> {
    Credentials::new(files, files.read(), clock::now().wall)
}

impl Credentials {
    /// The TLS configuration for handshakes.
    pub fn server(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.server)
    }

    /// Depends only on the contents of the files and the time, so it can be repeated when the files have changed.
    pub(super) fn new(files: &TlsFiles, contents: Contents, now: Timestamp) -> Result<Self, TlsError> {
        let digest = contents.digest();
        let provider = Arc::new(provider());
        let certificate = Source::parse(Role::ServerCertificate, &files.cert, contents.cert)?;
        let key = Source::parse(Role::ServerKey, &files.key, contents.key)?;
        let ca = Source::parse(Role::ClientCa, files.ca.path(), contents.ca)?;

        let (certified, server_validity) = certified_key(&certificate, &key, &provider, now)?;
        let (roots, ca_validity) = roots(&ca, now)?;
        let roots = Arc::new(roots);
        match files.ca {
            AuthorityFile::OfBoth(_) => {
                check_chain(&certificate, &certified.cert, &ca, &roots, &provider, now)?;
            }
            AuthorityFile::OfClients(_) => {}
        }
        let clients = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider))
            .build()
            .map_err(|error| ca.problem(Problem::UnusableCertificate(error.to_string())))?;

        let mut server = builder(provider)
            .with_client_cert_verifier(Arc::clone(&clients))
            .with_cert_resolver(Arc::new(OneCertificate(Arc::new(certified))));
        server.alpn_protocols = vec![b"h2".to_vec()];
        // A resumed session would skip the check of the client's certificate, which may have expired since.
        server.send_tls13_tickets = 0;
        Ok(Self { server: Arc::new(server), clients, server_validity, ca_validity, digest })
    }
}

/// The negotiated cipher suites and groups, the best first.
///
/// All common suites of TLS 1.3 are secure, so the client's order would do as well. A group that resists quantum
/// computers comes first, because traffic recorded today may be decrypted by one later.
fn provider() -> CryptoProvider {
    CryptoProvider {
        cipher_suites: vec![
            TLS13_AES_256_GCM_SHA384,
            TLS13_AES_128_GCM_SHA256,
            TLS13_CHACHA20_POLY1305_SHA256,
        ],
        kx_groups: vec![X25519MLKEM768, X25519, SECP256R1, SECP384R1],
        ..aws_lc_rs::default_provider()
    }
}

fn builder(provider: Arc<CryptoProvider>) -> ConfigBuilder<ServerConfig, WantsVerifier> {
    ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("the provider has cipher suites of TLS 1.3")
}

/// Resolves every server name to the only certificate.
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
) -> Result<(CertifiedKey, Validity), TlsError> {
    let chain = certificate.certificates()?;
    let validity = check_server_certificate(certificate, &chain, now)?;
    let private_key: PrivateKeyDer<'static> = key.private_key()?;
    let signing_key = provider
        .key_provider
        .load_private_key(private_key)
        .map_err(|_| key.problem(Problem::UnsupportedKey))?;
    let certified = CertifiedKey::new(chain, signing_key);
    certified.keys_match().map_err(|_| key.problem(Problem::KeyMismatch(certificate.file().to_owned())))?;
    Ok((certified, validity))
}

/// Checks the server's own certificate, which is the first in the file. Intermediates follow.
fn check_server_certificate(
    source: &Source,
    chain: &[CertificateDer<'_>],
    now: Timestamp,
) -> Result<Validity, TlsError> {
    let leaf = parse(source, &chain[0])?;
    let validity = source.validity(&leaf)?;
    source.check_validity(validity, now)?;
    let usage = leaf.extended_key_usage().map_err(|error| source.unusable(error))?;
    if usage.is_some_and(|usage| !usage.value.server_auth && !usage.value.any) {
        return Err(source.problem(Problem::NotForServers));
    }
    chain[1..].iter().try_fold(validity, |validity, intermediate| {
        Ok(validity.and(source.validity(&parse(source, intermediate)?)?))
    })
}

/// Checks that the server's own certificate is signed by a CA in the CA file. Otherwise no client that trusts these CAs
/// could connect.
///
/// All other checks of the certificate are left to clients.
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

/// Checks the CA bundle. Each certificate must be a CA that is valid now. Otherwise a client certificate put here by
/// mistake would be noticed only when nobody can connect.
fn roots(source: &Source, now: Timestamp) -> Result<(RootCertStore, Validity), TlsError> {
    let mut roots = RootCertStore::empty();
    let mut all: Option<Validity> = None;
    for der in source.certificates()? {
        let certificate = parse(source, &der)?;
        let validity = source.validity(&certificate)?;
        source.check_validity(validity, now)?;
        if !certificate.is_ca() {
            return Err(source.problem(Problem::NotCa(certificate.subject().to_string())));
        }
        roots.add(der.clone()).map_err(|error| source.unusable(error))?;
        all = Some(all.map_or(validity, |all| all.and(validity)));
    }
    Ok((roots, all.expect("a source has at least one certificate")))
}

fn parse<'a>(source: &Source, der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, TlsError> {
    let (_, certificate) =
        X509Certificate::from_der(der).map_err(|_| source.problem(Problem::DamagedCertificate))?;
    match certificate.version() {
        X509Version::V3 => Ok(certificate),
        X509Version(before) => Err(source.problem(Problem::OldCertificate(before + 1))),
    }
}
