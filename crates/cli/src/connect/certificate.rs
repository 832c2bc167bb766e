//! What a client certificate says.

use jiff::Timestamp;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::pem::Pem;
use x509_parser::prelude::X509Certificate;

/// What the first certificate of a PEM file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The user: a URI that is a subject alternative name, or else the common name. Empty: neither is there.
    pub user: String,
    /// The groups: the organizations of the subject.
    pub groups: Vec<String>,
    /// When it begins to be valid.
    pub not_before: Timestamp,
    /// When it expires.
    pub not_after: Timestamp,
}

impl Certificate {
    /// Reads the first certificate. `None`: it cannot be parsed.
    pub fn parse(pem: &[u8]) -> Option<Self> {
        let pem = Pem::iter_from_buffer(pem).flatten().find(|section| section.label == "CERTIFICATE")?;
        let certificate = pem.parse_x509().ok()?;
        let text = |value: &x509_parser::x509::AttributeTypeAndValue<'_>| {
            value.as_str().unwrap_or_default().to_owned()
        };
        let validity = certificate.validity();
        Some(Self {
            user: uri(&certificate)
                .or_else(|| certificate.subject().iter_common_name().next().map(text))
                .unwrap_or_default(),
            groups: certificate.subject().iter_organization().map(text).collect(),
            not_before: Timestamp::from_second(validity.not_before.timestamp()).ok()?,
            not_after: Timestamp::from_second(validity.not_after.timestamp()).ok()?,
        })
    }
}

fn uri(certificate: &X509Certificate<'_>) -> Option<String> {
    certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectAlternativeName(names) => {
            names.general_names.iter().find_map(|name| match name {
                GeneralName::URI(uri) => Some((*uri).to_owned()),
                _ => None,
            })
        }
        _ => None,
    })
}
