//! The three PEM files, and a one-line error for each problem with them.

use std::fmt::{self, Display};
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustls::pki_types::pem::{self, PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::certificate::X509Certificate;

use super::expiry::Validity;

/// The largest file, in bytes. Certificate chains and CA bundles are much smaller.
const MAX_FILE_SIZE: u64 = 4 * 1024 * 1024;

/// The paths of the server's certificate, its key and the CA file.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The server's certificate and its intermediates, PEM.
    pub cert: PathBuf,
    /// The private key of the certificate, PEM without passphrase.
    pub key: PathBuf,
    /// The CAs.
    pub ca: AuthorityFile,
}

/// The file of the CAs, PEM.
#[derive(Clone, Debug)]
pub enum AuthorityFile {
    /// They sign the clients and the server.
    OfBoth(PathBuf),
    /// They sign the clients. Who signs the server is for the clients to know.
    OfClients(PathBuf),
}

impl AuthorityFile {
    /// Its path.
    pub fn path(&self) -> &Path {
        match self {
            Self::OfBoth(path) | Self::OfClients(path) => path,
        }
    }
}

impl TlsFiles {
    /// Reads all three files, one after the other.
    pub(super) fn read(&self) -> Contents {
        Contents {
            cert: read_bounded(&self.cert),
            key: read_bounded(&self.key),
            ca: read_bounded(self.ca.path()),
        }
    }
}

/// The contents of the files, or why they cannot be read.
pub(super) struct Contents {
    pub(super) cert: Text,
    pub(super) key: Text,
    pub(super) ca: Text,
}

type Text = Result<Vec<u8>, Problem>;

impl Contents {
    /// A hash that changes with the contents.
    pub(super) fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for text in [&self.cert, &self.key, &self.ca] {
            text.as_ref().map_err(Problem::to_string).hash(&mut hasher);
        }
        hasher.finish()
    }
}

/// A file cannot be used. The message is one line that names the file.
#[derive(Debug, thiserror::Error)]
#[error("{role} {}: {problem}", file.display())]
pub struct TlsError {
    role: Role,
    file: PathBuf,
    problem: Problem,
}

impl TlsError {
    /// What is wrong with the file.
    pub fn problem(&self) -> &Problem {
        &self.problem
    }
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The file does not exist.
    #[error("does not exist (`kubectl-replicas certs` creates certificates for development)")]
    Missing,
    /// The file system refused.
    #[error("cannot be read: {0}")]
    Unreadable(io::Error),
    /// The file is too large.
    #[error("is larger than {MAX_FILE_SIZE} bytes")]
    TooLarge,
    /// It contains no PEM section.
    #[error("is not PEM")]
    NotPem,
    /// A PEM section is damaged.
    #[error("is damaged PEM: {0}")]
    DamagedPem(pem::Error),
    /// A private key, or something else, where a certificate belongs.
    #[error("holds no certificate, but {0}")]
    NoCertificate(&'static str),
    /// A certificate, or something else, where the private key belongs.
    #[error("holds no private key, but {0}")]
    NoKey(&'static str),
    /// The key has a passphrase, which the server cannot ask for.
    #[error("holds a private key with a passphrase; store it without one")]
    EncryptedKey,
    /// The key cannot be parsed or is of an unknown kind.
    #[error("holds a private key that is damaged or of an unsupported kind")]
    UnsupportedKey,
    /// The key belongs to another certificate.
    #[error("is not the key of the certificate in {}", .0.display())]
    KeyMismatch(PathBuf),
    /// A certificate cannot be parsed.
    #[error("holds a damaged certificate")]
    DamagedCertificate,
    /// A certificate is older than version 3, so it has no extensions.
    #[error(
        "holds a certificate of X.509 version {0}; make one of version 3, for example with \
         `openssl x509 -req -extfile FILE`"
    )]
    OldCertificate(u32),
    /// A certificate has parts that cannot be used.
    #[error("holds a certificate that cannot be used: {0}")]
    UnusableCertificate(String),
    /// The certificate has expired.
    #[error("expired at {0}")]
    Expired(Timestamp),
    /// The certificate is not valid yet.
    #[error("is not valid before {0}")]
    NotYetValid(Timestamp),
    /// The certificate is for clients only.
    #[error("is not for a server (its extended key usage lacks serverAuth)")]
    NotForServers,
    /// Clients that trust the CA file would not trust the server.
    #[error("does not chain to an authority in {}", .0.display())]
    OtherAuthority(PathBuf),
    /// A certificate in the CA file is not that of a CA.
    #[error("holds the certificate of `{0}`, which is not a CA")]
    NotCa(String),
}

/// The purpose of a file.
#[derive(Clone, Copy, Debug)]
pub(super) enum Role {
    ServerCertificate,
    ServerKey,
    ClientCa,
}

impl Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ServerCertificate => "server certificate",
            Self::ServerKey => "server key",
            Self::ClientCa => "client CA",
        })
    }
}

/// The PEM sections of a file, and its name in error messages.
#[derive(Debug)]
pub(super) struct Source {
    role: Role,
    file: PathBuf,
    sections: Vec<(SectionKind, Vec<u8>)>,
}

impl Source {
    pub(super) fn parse(role: Role, file: &Path, text: Text) -> Result<Self, TlsError> {
        let sections = text.and_then(|text| sections(&text)).map_err(|problem| TlsError {
            role,
            file: file.to_owned(),
            problem,
        })?;
        Ok(Self { role, file: file.to_owned(), sections })
    }

    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    pub(super) fn problem(&self, problem: Problem) -> TlsError {
        TlsError { role: self.role, file: self.file.clone(), problem }
    }

    pub(super) fn unusable(&self, error: impl Display) -> TlsError {
        self.problem(Problem::UnusableCertificate(error.to_string()))
    }

    /// All certificates of the file, at least one.
    pub(super) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let certificates: Vec<_> = self
            .sections
            .iter()
            .filter_map(|(kind, der)| CertificateDer::from_pem(*kind, der.clone()))
            .collect();
        if certificates.is_empty() {
            return Err(self.problem(Problem::NoCertificate(self.actual_contents())));
        }
        Ok(certificates)
    }

    /// The first private key of the file.
    pub(super) fn private_key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        self.sections
            .iter()
            .find_map(|(kind, der)| PrivateKeyDer::from_pem(*kind, der.clone()))
            .ok_or_else(|| self.problem(Problem::NoKey(self.actual_contents())))
    }

    /// When a certificate of the file is valid.
    pub(super) fn validity(&self, certificate: &X509Certificate<'_>) -> Result<Validity, TlsError> {
        let timestamp = |seconds: i64| Timestamp::from_second(seconds).map_err(|error| self.unusable(error));
        let validity = certificate.validity();
        Ok(Validity {
            not_before: timestamp(validity.not_before.timestamp())?,
            not_after: timestamp(validity.not_after.timestamp())?,
        })
    }

    pub(super) fn check_validity(&self, validity: Validity, now: Timestamp) -> Result<(), TlsError> {
        if now < validity.not_before {
            return Err(self.problem(Problem::NotYetValid(validity.not_before)));
        }
        if now > validity.not_after {
            return Err(self.problem(Problem::Expired(validity.not_after)));
        }
        Ok(())
    }

    /// What the file contains, judging by its first section, for error messages.
    fn actual_contents(&self) -> &'static str {
        match self.sections.first().map(|(kind, _)| kind) {
            Some(SectionKind::Certificate) => "a certificate",
            Some(SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey) => {
                "a private key"
            }
            Some(SectionKind::Csr) => "a certificate signing request",
            Some(SectionKind::PublicKey) => "a public key",
            Some(_) | None => "something else",
        }
    }
}

fn sections(text: &[u8]) -> Result<Vec<(SectionKind, Vec<u8>)>, Problem> {
    let mut rest = text;
    let mut sections = Vec::new();
    while let Some(section) = pem::from_buf(&mut rest).map_err(Problem::DamagedPem)? {
        sections.push(section);
    }
    // The PEM parser skips sections that it does not know, such as this one.
    if sections.is_empty() && contains(text, b"-----BEGIN ENCRYPTED PRIVATE KEY-----") {
        return Err(Problem::EncryptedKey);
    }
    if sections.is_empty() {
        return Err(Problem::NotPem);
    }
    Ok(sections)
}

fn read_bounded(file: &Path) -> Text {
    let opened = File::open(file).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Problem::Missing,
        _ => Problem::Unreadable(error),
    })?;
    let mut text = Vec::new();
    opened.take(MAX_FILE_SIZE + 1).read_to_end(&mut text).map_err(Problem::Unreadable)?;
    if text.len() as u64 > MAX_FILE_SIZE {
        return Err(Problem::TooLarge);
    }
    Ok(text)
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}
