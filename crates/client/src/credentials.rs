//! The credentials of a client: three pieces of PEM, which are checked before connecting.

use std::fmt::{self, Debug};
use std::path::{Path, PathBuf};
use std::{fs, io};

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, RootCertStore};
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

/// The credential files of a client.
#[derive(Clone, Debug)]
pub struct CredentialFiles {
    /// Certificates of the authorities that sign servers.
    pub authority: PathBuf,
    /// The client's certificate, and its intermediates.
    pub certificate: PathBuf,
    /// The private key of that certificate.
    pub key: PathBuf,
}

/// What a client trusts and presents. All of it is usable, and the key belongs to the certificate.
#[derive(Clone)]
pub struct Credentials {
    tls: ClientTlsConfig,
}

/// A file or a piece of PEM cannot be used. The message is one line that names it.
#[derive(Debug, thiserror::Error)]
#[error("{name}: {problem}")]
pub struct CredentialsError {
    name: String,
    problem: Problem,
}

/// What is wrong.
#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error("does not exist (`kubectl-replicas certs` creates certificates for development)")]
    Missing,
    #[error("cannot be read: {0}")]
    Unreadable(io::Error),
    #[error("is damaged PEM: {0}")]
    DamagedPem(pem::Error),
    #[error("holds no certificate (PEM)")]
    NoCertificate,
    #[error("holds a damaged certificate")]
    DamagedCertificate,
    #[error("holds no private key (PEM)")]
    NoKey,
    #[error("holds a private key with a passphrase; store it without one")]
    EncryptedKey,
    #[error("holds a private key that is damaged or of an unsupported kind")]
    UnsupportedKey,
    #[error("is not the key of the certificate in {0}")]
    KeyMismatch(String),
}

impl CredentialFiles {
    /// Reads the files and checks what they hold.
    pub fn load(&self) -> Result<Credentials, CredentialsError> {
        let sources = [&self.authority, &self.certificate, &self.key].map(|file| Source::read(file));
        let [authority, certificate, key] = sources;
        Credentials::new(&authority?, &certificate?, &key?)
    }
}

impl Credentials {
    /// Checks PEM that is not in files, for example in a Secret.
    pub fn from_pem(authority: &[u8], certificate: &[u8], key: &[u8]) -> Result<Self, CredentialsError> {
        let source = |name: &str, pem: &[u8]| Source { name: name.to_owned(), pem: pem.to_vec() };
        Self::new(
            &source("the CA's certificate", authority),
            &source("the client's certificate", certificate),
            &source("the client's key", key),
        )
    }

    fn new(authority: &Source, certificate: &Source, key: &Source) -> Result<Self, CredentialsError> {
        let mut roots = RootCertStore::empty();
        for root in authority.certificates()? {
            roots.add(root).map_err(|_| authority.refuse(Problem::DamagedCertificate))?;
        }
        let pair = CertifiedKey::from_der(
            certificate.certificates()?,
            key.private_key()?,
            &aws_lc_rs::default_provider(),
        );
        match pair {
            Ok(_) => {}
            Err(Error::InconsistentKeys(_)) => {
                return Err(key.refuse(Problem::KeyMismatch(certificate.name.clone())));
            }
            Err(Error::InvalidCertificate(_)) => return Err(certificate.refuse(Problem::DamagedCertificate)),
            Err(_) => return Err(key.refuse(Problem::UnsupportedKey)),
        }
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(&authority.pem))
            .identity(Identity::from_pem(&certificate.pem, &key.pem));
        Ok(Self { tls })
    }

    pub(crate) fn tls(&self) -> ClientTlsConfig {
        self.tls.clone()
    }
}

/// Shows nothing, because it holds a private key.
impl Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

/// A piece of PEM and its name in error messages.
struct Source {
    name: String,
    pem: Vec<u8>,
}

impl Source {
    fn read(file: &Path) -> Result<Self, CredentialsError> {
        let name = file.display().to_string();
        match fs::read(file) {
            Ok(pem) => Ok(Self { name, pem }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(CredentialsError { name, problem: Problem::Missing })
            }
            Err(error) => Err(CredentialsError { name, problem: Problem::Unreadable(error) }),
        }
    }

    fn refuse(&self, problem: Problem) -> CredentialsError {
        CredentialsError { name: self.name.clone(), problem }
    }

    /// All certificates, at least one.
    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, CredentialsError> {
        let certificates = CertificateDer::pem_slice_iter(&self.pem).collect::<Result<Vec<_>, _>>();
        match certificates {
            Ok(certificates) if certificates.is_empty() => Err(self.refuse(Problem::NoCertificate)),
            Ok(certificates) => Ok(certificates),
            Err(error) => Err(self.refuse(Problem::DamagedPem(error))),
        }
    }

    /// The first private key.
    fn private_key(&self) -> Result<PrivateKeyDer<'static>, CredentialsError> {
        PrivateKeyDer::from_pem_slice(&self.pem).map_err(|error| {
            self.refuse(match error {
                // The parser skips sections that it does not know, such as this one.
                pem::Error::NoItemsFound if self.contains(b"-----BEGIN ENCRYPTED PRIVATE KEY-----") => {
                    Problem::EncryptedKey
                }
                pem::Error::NoItemsFound => Problem::NoKey,
                error => Problem::DamagedPem(error),
            })
        })
    }

    fn contains(&self, part: &[u8]) -> bool {
        self.pem.windows(part.len()).any(|window| window == part)
    }
}
