//! Folders of certificates and clients that use them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Parser;
use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair,
};
use replica_count_cli::certs::CertsArgs;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tempfile::TempDir;

use crate::net::tls::{AuthorityFile, TlsFiles};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    certs: CertsArgs,
}

fn days(days: i64) -> SignedDuration {
    SignedDuration::from_hours(24 * days)
}

/// A folder with the output of `certs`.
pub(super) struct Certificates {
    folder: TempDir,
}

impl Certificates {
    pub(super) fn new() -> Self {
        Self::created(0)
    }

    /// As if created that many days from now.
    pub(super) fn created(days_from_now: i64) -> Self {
        let certificates = Self { folder: TempDir::new().unwrap() };
        certificates.certs(days(days_from_now), "");
        certificates
    }

    /// Creates another client, as if that many days from now.
    pub(super) fn client(&self, name: &str, days_from_now: i64) {
        self.certs(days(days_from_now), &format!("client --name {name} --group ops --group dev"));
    }

    /// Creates another client, whose certificate expires soon.
    pub(super) fn client_that_expires_in(&self, name: &str, left: SignedDuration) {
        self.certs(left - days(365), &format!("client --name {name}"));
    }

    /// Creates a client whose certificate is signed by the CA, with this common name, or with none.
    pub(super) fn client_named(&self, name: &str, common_name: Option<&str>) {
        let key = KeyPair::from_pem(&self.read("ca/ca.key")).unwrap();
        let issuer = Issuer::from_ca_cert_pem(&self.read("ca/ca.crt"), key).unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        if let Some(common_name) = common_name {
            params.distinguished_name.push(DnType::CommonName, common_name);
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &issuer).unwrap();
        fs::create_dir(self.path(name)).unwrap();
        fs::write(self.path(&format!("{name}/{name}.crt")), certificate.pem()).unwrap();
        fs::write(self.path(&format!("{name}/{name}.key")), key.serialize_pem()).unwrap();
    }

    /// A server certificate, the certificate of the intermediate CA that signed it, and the server's key.
    pub(super) fn server_signed_by_intermediate(&self) -> ([String; 2], String) {
        let root_key = KeyPair::from_pem(&self.read("ca/ca.key")).unwrap();
        let root = Issuer::from_ca_cert_pem(&self.read("ca/ca.crt"), root_key).unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "intermediate");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let intermediate = params.signed_by(&key, &root).unwrap();
        let issuer = Issuer::new(params, key);
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate().unwrap();
        let server = params.signed_by(&key, &issuer).unwrap();
        ([server.pem(), intermediate.pem()], key.serialize_pem())
    }

    /// Runs `certs` as if after that time.
    fn certs(&self, from_now: SignedDuration, arguments: &str) {
        let arguments = ["certs"].into_iter().chain(arguments.split_whitespace());
        let cli = Cli::parse_from(arguments.chain(["--dir", self.folder.path().to_str().unwrap()]));
        cli.certs.create(Timestamp::now() + from_now, &mut Vec::new()).unwrap();
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    pub(super) fn read(&self, file: &str) -> String {
        fs::read_to_string(self.path(file)).unwrap()
    }

    pub(super) fn server(&self) -> TlsFiles {
        TlsFiles {
            cert: self.path("server/server.crt"),
            key: self.path("server/server.key"),
            ca: AuthorityFile::OfBoth(self.path("server/ca.crt")),
        }
    }

    /// The configuration of a client that trusts this CA and presents the certificate of `name`, if any.
    pub(super) fn client_config(&self, name: Option<&str>) -> Arc<ClientConfig> {
        self.client_config_of(name, &rustls::version::TLS13, aws_lc_rs::default_provider())
    }

    pub(super) fn client_config_of(
        &self,
        name: Option<&str>,
        version: &'static SupportedProtocolVersion,
        provider: CryptoProvider,
    ) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.path("ca/ca.crt")).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match name {
            None => builder.with_no_client_auth(),
            Some(name) => {
                let certificate = CertificateDer::from_pem_file(self.path(&format!("{name}/{name}.crt")));
                let key = PrivateKeyDer::from_pem_file(self.path(&format!("{name}/{name}.key")));
                builder.with_client_auth_cert(vec![certificate.unwrap()], key.unwrap()).unwrap()
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Arc::new(config)
    }

    /// The configuration of a client that trusts this CA and presents a certificate of another.
    pub(super) fn client_config_with(&self, other: &Self, name: &str) -> Arc<ClientConfig> {
        let mut config = ClientConfig::clone(&self.client_config(None));
        config.client_auth_cert_resolver =
            Arc::clone(&other.client_config(Some(name)).client_auth_cert_resolver);
        Arc::new(config)
    }
}
