//! What a plugin prints.

use http::HeaderValue;
use jiff::Timestamp;
use serde::Deserialize;

use crate::kubernetes::credentials::{ClientCertificate, bearer, client_certificate};

/// The kind of the printed object.
pub(super) const KIND: &str = "ExecCredential";
/// The versions of the contract.
pub(super) const VERSIONS: [&str; 2] =
    ["client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"];

/// Credentials that a plugin gave.
#[derive(Clone, PartialEq)]
pub(in crate::kubernetes) struct Obtained {
    /// The value of the header `Authorization`.
    pub(in crate::kubernetes) authorization: Option<HeaderValue>,
    pub(in crate::kubernetes) certificate: Option<ClientCertificate>,
    /// When they expire. `None`: the plugin did not say.
    pub(in crate::kubernetes) expires: Option<Timestamp>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Credential {
    kind: Option<String>,
    api_version: Option<String>,
    status: Option<Status>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    expiration_timestamp: Option<String>,
    token: Option<String>,
    client_certificate_data: Option<String>,
    client_key_data: Option<String>,
}

/// Parses what a plugin printed: JSON or YAML, as client-go does. The error shows nothing of it.
pub(super) fn parse(output: &[u8], api_version: &str) -> Result<Obtained, String> {
    let credential: Credential = serde_saphyr::from_slice(output)
        .map_err(|error| format!("not an {KIND}: {}", error.without_snippet()).replace('\n', " "))?;
    if credential.kind.as_deref() != Some(KIND) {
        return Err(format!("its kind is not {KIND}"));
    }
    if credential.api_version.as_deref() != Some(api_version) {
        let version = credential.api_version.unwrap_or_default();
        return Err(format!("its apiVersion is {version:?}, but the kubeconfig says {api_version:?}"));
    }
    let status = credential.status.ok_or("it has no status")?;
    let present = |text: Option<String>| text.filter(|text| !text.is_empty());
    let authorization = present(status.token).map(|token| bearer(&token)).transpose()?;
    let pair = (present(status.client_certificate_data), present(status.client_key_data));
    let certificate = match pair {
        (Some(chain), Some(key)) => Some(client_certificate(chain.into_bytes(), key.into_bytes())?),
        (None, None) => None,
        (Some(_), None) => return Err("it has a certificate without its key".to_owned()),
        (None, Some(_)) => return Err("it has a key without its certificate".to_owned()),
    };
    if authorization.is_none() && certificate.is_none() {
        return Err("it has neither a token nor a certificate".to_owned());
    }
    let expires = present(status.expiration_timestamp).map(|text| text.trim().parse::<Timestamp>());
    let expires = expires.transpose().map_err(|error| format!("its expirationTimestamp: {error}"))?;
    let certificate_expires = certificate.as_ref().map(|certificate| certificate.expires);
    // The earlier of the two.
    let expires = expires.into_iter().chain(certificate_expires).min();
    Ok(Obtained { authorization, certificate, expires })
}
