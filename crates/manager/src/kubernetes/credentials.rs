//! Tokens and certificates as text, checked when they are read: what is not valid here would fail later, without a name.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::HeaderValue;
use jiff::Timestamp;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// A client certificate with its key, in PEM.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct ClientCertificate {
    pub(super) chain: Vec<u8>,
    pub(super) key: Vec<u8>,
    /// When its first certificate expires.
    pub(super) expires: Timestamp,
}

/// The header for a token. White space around it is not part of it: people and tools end files with a line break.
pub(super) fn bearer(token: &str) -> Result<HeaderValue, String> {
    let token = token.trim();
    if token.is_empty() {
        return Err("the token is empty".to_owned());
    }
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("the token has a character that no token has".to_owned());
    }
    Ok(sensitive(format!("Bearer {token}")))
}

/// The header for a user and a password.
pub(super) fn basic(user: &str, password: &str) -> HeaderValue {
    sensitive(format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}"))))
}

fn sensitive(text: String) -> HeaderValue {
    let mut value = HeaderValue::try_from(text).expect("printable ASCII is valid");
    value.set_sensitive(true);
    value
}

/// Checks a client certificate and its key, in PEM, and that they belong together.
pub(super) fn client_certificate(chain: Vec<u8>, key: Vec<u8>) -> Result<ClientCertificate, String> {
    let certificates = certificates(&chain)?;
    let first = certificates.first().ok_or("there is no certificate in it")?;
    let (_, parsed) =
        X509Certificate::from_der(first).map_err(|error| format!("the certificate is not valid: {error}"))?;
    let expires = Timestamp::from_second(parsed.validity().not_after.timestamp()).unwrap_or(Timestamp::MAX);
    let private =
        PrivateKeyDer::from_pem_slice(&key).map_err(|error| format!("the key is not PEM: {error}"))?;
    let certificates = certificates.into_iter().map(CertificateDer::from).collect();
    match CertifiedKey::from_der(certificates, private, &default_provider()) {
        Ok(_) => {}
        Err(rustls::Error::InconsistentKeys(_)) => {
            return Err("the key does not belong to the certificate".to_owned());
        }
        Err(error) => return Err(format!("the key cannot be used: {error}")),
    }
    Ok(ClientCertificate { chain, key, expires })
}

/// The certificates in a PEM text (DER).
fn certificates(pem: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let certificates =
        CertificateDer::pem_slice_iter(pem).map(|certificate| certificate.map(|der| der.to_vec()));
    certificates.collect::<Result<_, _>>().map_err(|error| format!("it is not PEM: {error}"))
}

/// The certificates of authorities in a PEM text (DER); at least one.
pub(super) fn authorities(pem: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let authorities = certificates(pem)?;
    if authorities.is_empty() { Err("there is no certificate in it".to_owned()) } else { Ok(authorities) }
}

/// Decodes base64, in which lines may be broken.
pub(super) fn decode(base64: &str) -> Result<Vec<u8>, String> {
    let text: String = base64.split_whitespace().collect();
    BASE64_STANDARD.decode(text).map_err(|error| format!("it is not base64: {error}"))
}

/// Encodes base64.
pub(super) fn encode(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(bytes)
}
