//! The development CA and the certificates that it signs.

use std::path::{Path, PathBuf};
use std::{fs, io};

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData, SanType,
};
use x509_parser::pem::parse_x509_pem;
use x509_parser::time::ASN1Time;

use super::error::CertsError;
use super::name::{Group, Host, Uri};
use super::subject;

/// Clocks that are this much behind ours still accept a new certificate.
const CLOCK_SKEW: SignedDuration = SignedDuration::from_mins(5);

/// The server's names without any `--host`: on this machine, and of its Service in a namespace of the same name.
const SERVER_NAMES: [&str; 6] = [
    "localhost",
    "127.0.0.1",
    "::1",
    "replica-count-manager",
    "replica-count-manager.replica-count-manager",
    "replica-count-manager.replica-count-manager.svc",
];

/// The validity period of a certificate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Validity {
    not_before: Timestamp,
    not_after: Timestamp,
}

impl Validity {
    /// `days` from `now`, beginning a little earlier because of slow clocks.
    pub(super) fn starting(now: Timestamp, days: u16) -> Self {
        let length = SignedDuration::from_hours(24 * i64::from(days));
        Self { not_before: now - CLOCK_SKEW, not_after: now + length }
    }

    fn apply(self, params: &mut CertificateParams) -> Result<(), CertsError> {
        for (field, time) in
            [(&mut params.not_before, self.not_before), (&mut params.not_after, self.not_after)]
        {
            let time = ASN1Time::from_timestamp(time.as_second()).map_err(|_| rcgen::Error::Time)?;
            *field = time.to_datetime();
        }
        Ok(())
    }
}

/// A certificate and its key, both as PEM.
pub(super) struct Pair {
    pub(super) certificate_pem: String,
    pub(super) key_pem: String,
}

/// A CA that can sign: its certificate and its key.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate_pem: String,
    not_after: Timestamp,
}

impl Authority {
    /// A new CA with a new key, which signs servers and clients but no other CA.
    pub(super) fn new(validity: Validity) -> Result<Self, CertsError> {
        let mut params = CertificateParams::default();
        // The name is unique: otherwise a client of an earlier CA would look like one with a forged signature.
        let name = format!("Replica Count Manager development CA {:08x}", fastrand::u32(..));
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        validity.apply(&mut params)?;
        let key = KeyPair::generate()?;
        let certificate_pem = params.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), certificate_pem, not_after: validity.not_after })
    }

    /// Loads the CA in `folder`, which must be complete and still valid at `now`.
    pub(super) fn load(folder: &Path, now: Timestamp) -> Result<Self, CertsError> {
        let (certificate_file, certificate_pem) = read(folder.join("ca.crt"))?;
        let (key_file, key_pem) = read(folder.join("ca.key"))?;
        let problem = |file: &Path, problem: &str| CertsError::Authority {
            file: file.to_owned(),
            problem: problem.to_owned(),
        };

        let key =
            KeyPair::from_pem(&key_pem).map_err(|_| problem(&key_file, "holds no private key as PEM"))?;
        let not_certificate = || problem(&certificate_file, "holds no certificate as PEM");
        let (_, pem) = parse_x509_pem(certificate_pem.as_bytes()).map_err(|_| not_certificate())?;
        let certificate = pem.parse_x509().map_err(|_| not_certificate())?;
        if certificate.public_key().raw != key.subject_public_key_info() {
            return Err(problem(
                &key_file,
                &format!("is not the key of the certificate in {}", certificate_file.display()),
            ));
        }
        if !certificate.is_ca() {
            return Err(problem(&certificate_file, "is not the certificate of a CA"));
        }
        let not_after = Timestamp::from_second(certificate.validity().not_after.timestamp())
            .map_err(|_| not_certificate())?;
        if not_after <= now {
            return Err(problem(
                &certificate_file,
                &format!("expired at {not_after}; `kubectl-replicas certs --force` creates a new CA"),
            ));
        }

        let issuer = Issuer::from_ca_cert_pem(&certificate_pem, key)?;
        Ok(Self { issuer, certificate_pem, not_after })
    }

    pub(super) fn certificate_pem(&self) -> String {
        self.certificate_pem.clone()
    }

    pub(super) fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// A certificate for the server, with the usual names and `hosts`.
    pub(super) fn server(&self, hosts: &[Host], validity: Validity) -> Result<Pair, CertsError> {
        let mut params = CertificateParams::new(SERVER_NAMES.map(str::to_owned).to_vec())?;
        for host in hosts {
            if !params.subject_alt_names.contains(host.subject_alt_name()) {
                params.subject_alt_names.push(host.subject_alt_name().clone());
            }
        }
        params.distinguished_name.push(DnType::CommonName, "replica-count-manager");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let (certificate, key) = self.sign(params, validity)?;
        Ok(Pair { certificate_pem: certificate.pem(), key_pem: key.serialize_pem() })
    }

    /// A certificate for the user `name` in `groups`. If there is a `uri`, it identifies the user instead.
    pub(super) fn client(
        &self,
        name: &str,
        groups: &[Group],
        uri: Option<&Uri>,
        validity: Validity,
    ) -> Result<Pair, CertsError> {
        let mut params = CertificateParams::default();
        if let Some(uri) = uri {
            params.subject_alt_names.push(SanType::URI(uri.as_str().try_into()?));
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let (certificate, key) = self.sign(params, validity)?;
        let certificate_pem = subject::replace(&certificate, name, groups, self.issuer.key())?;
        Ok(Pair { certificate_pem, key_pem: key.serialize_pem() })
    }

    /// Signs a certificate with a new key. It does not outlive the CA, because then nobody could verify it.
    fn sign(
        &self,
        mut params: CertificateParams,
        validity: Validity,
    ) -> Result<(Certificate, KeyPair), CertsError> {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        Validity { not_after: validity.not_after.min(self.not_after), ..validity }.apply(&mut params)?;
        let key = KeyPair::generate()?;
        Ok((params.signed_by(&key, &self.issuer)?, key))
    }
}

fn read(file: PathBuf) -> Result<(PathBuf, String), CertsError> {
    match fs::read_to_string(&file) {
        Ok(text) => Ok((file, text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(CertsError::NoAuthority(file)),
        Err(error) => Err(CertsError::Authority { file, problem: format!("cannot be read: {error}") }),
    }
}
