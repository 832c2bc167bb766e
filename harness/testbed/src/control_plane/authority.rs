//! The certificate authority of one control plane, and the key files of the API server.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};

/// The subject of a certificate.
#[derive(Debug)]
pub(super) struct Identity {
    common_name: String,
    groups: Vec<String>,
    usage: ExtendedKeyUsagePurpose,
    names: Vec<SanType>,
    /// How long from now; `None`: longer than any test.
    lifetime: Option<Duration>,
}

impl Identity {
    /// A client. Kubernetes uses the common name as the user and the organizations as the groups.
    pub(super) fn person(name: &str, groups: &[&str]) -> Self {
        Self {
            common_name: name.to_owned(),
            groups: groups.iter().map(ToString::to_string).collect(),
            usage: ExtendedKeyUsagePurpose::ClientAuth,
            names: Vec::new(),
            lifetime: None,
        }
    }

    /// The same, but soon not valid any more.
    pub(super) fn expiring(self, lifetime: Duration) -> Self {
        Self { lifetime: Some(lifetime), ..self }
    }

    /// A server with these addresses and names.
    pub(super) fn server(common_name: &str, addresses: &[Ipv4Addr], names: &[&str]) -> Result<Self> {
        let mut sans: Vec<SanType> =
            addresses.iter().map(|address| SanType::IpAddress(IpAddr::V4(*address))).collect();
        for name in names {
            sans.push(SanType::DnsName((*name).try_into()?));
        }
        let usage = ExtendedKeyUsagePurpose::ServerAuth;
        let common_name = common_name.to_owned();
        Ok(Self { common_name, groups: Vec::new(), usage, names: sans, lifetime: None })
    }
}

/// The PEM files of a certificate and its key.
#[derive(Clone, Debug)]
pub(crate) struct CertificateFiles {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// A certificate authority that lives as long as its control plane.
pub(super) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: PathBuf,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Authority {
    /// Writes its own certificate to `folder`, and later those it issues.
    pub(super) fn new(folder: &Path) -> Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "replica-count-testbed");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let this = Self { issuer, folder: folder.to_owned() };
        write_secret(&this.certificate(), &this.issuer.pem())?;
        Ok(this)
    }

    /// The path of its own certificate.
    pub(super) fn certificate(&self) -> PathBuf {
        self.folder.join("ca.crt")
    }

    /// Issues a certificate with a new key. Every call writes new files, so a certificate always matches its key.
    pub(super) fn issue(&self, identity: &Identity) -> Result<CertificateFiles> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, identity.common_name.as_str());
        for group in &identity.groups {
            params.distinguished_name.push(DnType::OrganizationName, group.as_str());
        }
        params.subject_alt_names.clone_from(&identity.names);
        params.extended_key_usages = vec![identity.usage.clone()];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        if let Some(lifetime) = identity.lifetime {
            params.not_after = SystemTime::from(Timestamp::now() + lifetime).into();
        }
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let name = file_name(&identity.common_name);
        let stem = self.folder.join(format!("{name}-{:08x}", fastrand::u32(..)));
        let files =
            CertificateFiles { certificate: stem.with_extension("crt"), key: stem.with_extension("key") };
        write_secret(&files.certificate, &certificate.pem())?;
        write_secret(&files.key, &key.serialize_pem())?;
        Ok(files)
    }

    /// Writes the key pair that signs the tokens of ServiceAccounts.
    pub(super) fn token_key(&self) -> Result<CertificateFiles> {
        let key = KeyPair::generate()?;
        let stem = self.folder.join("service-accounts");
        let files =
            CertificateFiles { certificate: stem.with_extension("pub"), key: stem.with_extension("key") };
        write_secret(&files.certificate, &key.public_key_pem())?;
        write_secret(&files.key, &key.serialize_pem())?;
        Ok(files)
    }
}

/// A file name for `name`, without extension.
pub(super) fn file_name(name: &str) -> String {
    name.replace(|c: char| !c.is_ascii_alphanumeric(), "-")
}

/// Atomically writes a file that only this user can read: tests that share a control plane write the same files
/// concurrently, and a program may be reading them.
pub(super) fn write_secret(path: &Path, text: &str) -> Result<()> {
    let unfinished = path.with_extension(format!("unfinished-{:016x}", fastrand::u64(..)));
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .and_then(|()| fs::rename(&unfinished, path))
        .with_context(|| format!("cannot write {}", path.display()))
}
