//! The identity of a client, read from its certificate like in Kubernetes: the common name is the user, and the
//! organizations are the groups. A URI among the alternative names (SPIFFE) is the user instead.

use std::sync::Arc;

use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::x509::AttributeTypeAndValue;

/// The maximum length of a common name or an organization, in bytes.
const MAX_NAME: usize = 256;
/// The maximum length of a URI, in bytes: the limit of SPIFFE.
const MAX_URI: usize = 2048;
const MAX_GROUPS: usize = 64;

/// The identity of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The common name, or the URI. Not empty, without control characters.
    pub user: Arc<str>,
    /// The organizations, in the order of the certificate.
    pub groups: Vec<String>,
    /// The SHA-256 of the certificate, which stands for all of this.
    pub fingerprint: [u8; 32],
}

/// Why a certificate has no usable identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// It is not an X.509 certificate, or its names are damaged.
    #[error("the certificate is damaged")]
    Damaged,
    /// It has neither a common name nor a URI.
    #[error("the certificate has neither a common name nor a URI")]
    Nobody,
    /// It has several common names or several URIs.
    #[error("the certificate has several {0}")]
    Ambiguous(&'static str),
    /// A name is empty, too long, or has control characters.
    #[error("the certificate has a {0} that is empty, too long or has control characters")]
    BadName(&'static str),
    /// Its common name is written like a URI, so it could be that of another client.
    #[error(
        "the common name looks like a URI, which only an alternative name may be; \
         put it into a URI among the alternative names, or use another common name"
    )]
    UriInCommonName,
    /// Its URI could be the common name of another client.
    #[error("the URI among the alternative names has no `://` and does not begin with `urn:`")]
    NoUri,
    /// It is in too many groups.
    #[error("the certificate has more than {MAX_GROUPS} organizations")]
    TooManyGroups,
}

impl Identity {
    /// Reads the identity from a certificate in DER, which must have been verified.
    pub fn from_certificate(der: &[u8]) -> Result<Self, IdentityError> {
        let (_, certificate) = X509Certificate::from_der(der).map_err(|_| IdentityError::Damaged)?;
        let subject = certificate.subject();
        let user = if let Some(uri) = only("URIs", &uris(&certificate)?)? {
            let uri = checked("URI", uri, MAX_URI)?;
            if !is_uri(&uri) {
                return Err(IdentityError::NoUri);
            }
            uri
        } else {
            let names = texts(subject.iter_common_name())?;
            let name = only("common names", &names)?.ok_or(IdentityError::Nobody)?;
            let name = checked("common name", name, MAX_NAME)?;
            if is_uri(&name) {
                return Err(IdentityError::UriInCommonName);
            }
            name
        };
        let organizations = texts(subject.iter_organization())?;
        if organizations.len() > MAX_GROUPS {
            return Err(IdentityError::TooManyGroups);
        }
        let groups = organizations
            .into_iter()
            .map(|organization| checked("organization", organization, MAX_NAME))
            .collect::<Result<_, _>>()?;
        Ok(Self { user: user.into(), groups, fingerprint: fingerprint(der) })
    }
}

fn fingerprint(der: &[u8]) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, der);
    digest.as_ref().try_into().expect("a SHA-256 has 32 bytes")
}

fn uris<'a>(certificate: &'a X509Certificate<'_>) -> Result<Vec<&'a str>, IdentityError> {
    let names = certificate.subject_alternative_name().map_err(|_| IdentityError::Damaged)?;
    let names = names.map(|extension| extension.value.general_names.as_slice()).unwrap_or_default();
    Ok(names
        .iter()
        .filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        })
        .collect())
}

fn texts<'a>(
    attributes: impl Iterator<Item = &'a AttributeTypeAndValue<'a>>,
) -> Result<Vec<&'a str>, IdentityError> {
    attributes.map(|attribute| attribute.as_str().map_err(|_| IdentityError::Damaged)).collect()
}

/// The only name, if there is one. With two names, it would be ambiguous which one has the permissions.
fn only<'a>(what: &'static str, names: &[&'a str]) -> Result<Option<&'a str>, IdentityError> {
    match names {
        [] => Ok(None),
        [name] => Ok(Some(name)),
        [_, _, ..] => Err(IdentityError::Ambiguous(what)),
    }
}

/// Whether a user is one of those that are named by a URI. No common name may be, so no two certificates of different
/// kinds name the same user. A colon alone is no sign of a URI: Kubernetes has users such as `system:admin`.
fn is_uri(name: &str) -> bool {
    name.contains("://") || name.get(..4).is_some_and(|scheme| scheme.eq_ignore_ascii_case("urn:"))
}

fn checked(what: &'static str, name: &str, max: usize) -> Result<String, IdentityError> {
    if name.is_empty() || name.len() > max || name.chars().any(char::is_control) {
        return Err(IdentityError::BadName(what));
    }
    Ok(name.to_owned())
}
