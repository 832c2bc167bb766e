//! What a client trusts and presents: a CA, a certificate and its key.

use std::fmt::{self, Debug, Display};
use std::fs;
use std::path::PathBuf;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use replica_count_client::{CredentialFiles, Credentials};

use super::certificate::Certificate;
use super::context::{Context, chain};
use super::service::ServerService;
use crate::duration::human;
use crate::failure::Failure;

/// Where a pair came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Files; this one is the certificate.
    File(PathBuf),
    /// The profile of a context.
    Profile,
    /// A Secret, as `NAMESPACE/NAME`.
    Secret(String),
}

/// A CA, a certificate and its key, as PEM.
#[derive(Clone)]
pub struct Pair {
    /// The certificates of the authorities that sign servers.
    pub authority: Vec<u8>,
    /// The certificate of the client, and its intermediates.
    pub certificate: Vec<u8>,
    /// Its key.
    pub key: Vec<u8>,
    /// Where it came from.
    pub origin: Origin,
}

impl Pair {
    pub(super) fn from_files(files: &CredentialFiles) -> Result<Self, Failure> {
        // Checks them with errors that name the files.
        files.load().map_err(|error| Failure::new(error.to_string()))?;
        let read = |file: &PathBuf| {
            fs::read(file).map_err(|error| Failure::new(format!("{}: {error}", file.display())))
        };
        Ok(Self {
            authority: read(&files.authority)?,
            certificate: read(&files.certificate)?,
            key: read(&files.key)?,
            origin: Origin::File(files.certificate.clone()),
        })
    }

    /// The pair that the chart made for clients of a Service. The error says why there is none.
    pub(super) async fn from_chart(context: &Context, service: &ServerService) -> Result<Self, String> {
        let name = format!("{}-client-tls", service.name);
        let origin = format!("{}/{name}", service.namespace);
        let client = context.client().await.map_err(|failure| failure.message().to_owned())?;
        let secret = Api::<Secret>::namespaced(client, &service.namespace).get_opt(&name).await;
        let secret = match secret {
            Ok(Some(secret)) => secret,
            Ok(None) => return Err(format!("no file is named, and there is no Secret {origin}")),
            Err(kube::Error::Api(status)) if status.code == 403 => {
                return Err(format!(
                    "no file is named, and the context {} may not read the Secret {origin}",
                    context.name()
                ));
            }
            Err(error) => return Err(format!("the Secret {origin} cannot be read: {}", chain(&error))),
        };
        let mut data = secret.data.unwrap_or_default();
        let mut take = |key: &str| {
            data.remove(key).map(|bytes| bytes.0).ok_or_else(|| format!("the Secret {origin} has no {key}"))
        };
        Ok(Self {
            authority: take("ca.crt")?,
            certificate: take("tls.crt")?,
            key: take("tls.key")?,
            origin: Origin::Secret(origin),
        })
    }

    /// What the certificate says. `None`: it cannot be parsed.
    pub fn certificate(&self) -> Option<Certificate> {
        Certificate::parse(&self.certificate)
    }

    /// Refuses a certificate that no server accepts now.
    pub(super) fn check(&self) -> Result<(), Failure> {
        let Some(certificate) = self.certificate() else { return Ok(()) };
        let now = Timestamp::now();
        if certificate.not_after < now {
            let ago = human(now.duration_since(certificate.not_after));
            return Err(Failure::new(format!("the client certificate expired {ago} ago: {self}"))
                .advise(self.renewal()));
        }
        if certificate.not_before > now {
            return Err(Failure::new(format!(
                "the client certificate is valid from {} on: {self}",
                certificate.not_before
            ))
            .advise("Check the clock of this machine."));
        }
        Ok(())
    }

    /// How to get a valid one.
    fn renewal(&self) -> &'static str {
        match self.origin {
            Origin::File(_) => {
                "Get a new one from whoever runs the server, and name it with --cert and --key."
            }
            Origin::Profile => {
                "Get a new one from whoever runs the server, and remember it with `kubectl replicas login`."
            }
            Origin::Secret(_) => "A `helm upgrade` of the server's release renews it.",
        }
    }

    pub(super) fn credentials(&self) -> Result<Credentials, Failure> {
        let checked = Credentials::from_pem(&self.authority, &self.certificate, &self.key);
        checked.map_err(|error| Failure::new(format!("{error} ({self})")))
    }
}

/// Where it came from.
impl Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Origin::File(file) => Display::fmt(&file.display(), f),
            Origin::Profile => f.write_str("the profile of this context"),
            Origin::Secret(name) => write!(f, "the Secret {name}"),
        }
    }
}

/// Shows no key.
impl Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pair").field("origin", &self.origin).finish_non_exhaustive()
    }
}
