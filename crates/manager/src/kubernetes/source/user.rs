//! Who a kubeconfig says that the server is: with the precedence of kubectl.

use std::fmt;
use std::path::{Path, PathBuf};

use http::HeaderValue;
use kube::config::{AuthInfo, AuthProviderConfig, Cluster};
use secrecy::ExposeSecret;

use super::error::unusable;
use super::files::Files;
use crate::kubernetes::access::Impersonation;
use crate::kubernetes::credentials::{ClientCertificate, basic, bearer, client_certificate, decode};
use crate::kubernetes::plugin::Plugin;

/// A user of a kubeconfig, with what its files contain.
pub(super) struct User {
    pub(super) authorization: Option<HeaderValue>,
    pub(super) certificate: Option<ClientCertificate>,
    pub(super) impersonation: Impersonation,
    /// The plugin that gives the credentials.
    pub(super) plugin: Option<Plugin>,
    pub(super) method: Method,
}

/// Where the credentials come from, for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::kubernetes) enum Method {
    None,
    Token,
    TokenFile(PathBuf),
    Password,
    Certificate(Option<PathBuf>),
    Plugin(String),
    ServiceAccount,
}

impl fmt::Display for Method {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => formatter.write_str("no credentials at all"),
            Self::Token => formatter.write_str("the token of the kubeconfig"),
            Self::TokenFile(path) => write!(formatter, "the token in {}", path.display()),
            Self::Password => formatter.write_str("the password of the kubeconfig"),
            Self::Certificate(None) => formatter.write_str("the certificate of the kubeconfig"),
            Self::Certificate(Some(path)) => write!(formatter, "the certificate in {}", path.display()),
            Self::Plugin(command) => write!(formatter, "what the credential plugin {command:?} gives"),
            Self::ServiceAccount => formatter.write_str("the token of the pod's service account"),
        }
    }
}

/// Reads the files of a user. `cluster` has its certificates inline.
pub(super) fn read(info: AuthInfo, cluster: &Cluster, files: &mut Files) -> Result<User, String> {
    let given = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    let impersonation = Impersonation {
        user: info.impersonate.clone(),
        uid: info.impersonate_uid.clone(),
        groups: info.impersonate_groups.clone(),
        extra: info.impersonate_user_extra.clone().map(|extra| extra.into_iter().collect()),
    };
    let certificate = certificate(&info, files)?;
    let (mut authorization, mut method) = match token(&info, files)? {
        Some((token, method)) => (Some(token), method),
        None => (None, Method::None),
    };
    if let Some(provider) = &info.auth_provider {
        if info.exec.is_some() {
            return Err("a user has either an auth-provider or exec, not both".to_owned());
        }
        let token = provided(provider)?;
        if authorization.is_none() {
            (authorization, method) = (Some(token), Method::Token);
        }
    }
    // A password without a user is ignored.
    if let Some(user) = info.username.as_deref().filter(|user| !user.is_empty()) {
        if authorization.is_some() {
            return Err("a user has either a password or a token, not both".to_owned());
        }
        let password = info.password.as_ref().map_or("", |password| password.expose_secret());
        authorization = Some(basic(user, password));
        method = Method::Password;
    }
    if certificate.is_some() && method == Method::None {
        let path = info.client_certificate.filter(|_| !given(&info.client_certificate_data));
        method = Method::Certificate(path.map(PathBuf::from));
    }
    // Whatever else there is wins over a plugin.
    let is_plugin = authorization.is_none() && certificate.is_none();
    let plugin = info.exec.filter(|_| is_plugin).map(|exec| Plugin::new(exec, cluster)).transpose()?;
    if let Some(plugin) = &plugin {
        method = Method::Plugin(plugin.command().to_owned());
    }
    Ok(User { authorization, certificate, impersonation, plugin, method })
}

/// The token; that of a file counts before one in the kubeconfig.
fn token(info: &AuthInfo, files: &mut Files) -> Result<Option<(HeaderValue, Method)>, String> {
    let inline = info.token.as_ref().map(ExposeSecret::expose_secret).filter(|token| !token.is_empty());
    let inline = inline.map(|token| bearer(token).map_err(|reason| format!("token: {reason}")));
    let Some(path) = info.token_file.as_ref().filter(|path| !path.is_empty()) else {
        return Ok(inline.transpose()?.map(|token| (token, Method::Token)));
    };
    match (token_file(Path::new(path), files), inline) {
        (Ok(token), _) => Ok(Some((token, Method::TokenFile(path.into())))),
        (Err(_), Some(inline)) => Ok(Some((inline?, Method::Token))),
        (Err(reason), None) => Err(reason),
    }
}

/// Reads a token from a file.
pub(super) fn token_file(path: &Path, files: &mut Files) -> Result<HeaderValue, String> {
    let bytes = files.read(path).map_err(|error| unusable("tokenFile", path, error))?;
    let text = String::from_utf8(bytes).map_err(|_| unusable("tokenFile", path, "it is not text"))?;
    bearer(&text).map_err(|reason| unusable("tokenFile", path, reason))
}

fn certificate(info: &AuthInfo, files: &mut Files) -> Result<Option<ClientCertificate>, String> {
    let key_data = info.client_key_data.as_ref().map(ExposeSecret::expose_secret);
    let chain = data(
        "client-certificate",
        info.client_certificate_data.as_deref(),
        info.client_certificate.as_deref(),
        files,
    )?;
    let key = data("client-key", key_data, info.client_key.as_deref(), files)?;
    match (chain, key) {
        (None, None) => Ok(None),
        (Some(_), None) => Err("there is a client-certificate without its client-key".to_owned()),
        (None, Some(_)) => Err("there is a client-key without its client-certificate".to_owned()),
        (Some(chain), Some(key)) => {
            let inline = info.client_certificate_data.as_deref().filter(|data| !data.is_empty());
            let place = match (inline, info.client_certificate.as_deref()) {
                (None, Some(path)) => format!("client-certificate {path}"),
                _ => "client-certificate-data".to_owned(),
            };
            client_certificate(chain, key).map(Some).map_err(|reason| format!("{place}: {reason}"))
        }
    }
}

/// What a kubeconfig has inline, in base64, or in a file.
pub(super) fn data(
    key: &str,
    inline: Option<&str>,
    path: Option<&str>,
    files: &mut Files,
) -> Result<Option<Vec<u8>>, String> {
    let given = |text: Option<&'_ str>| text.is_some_and(|text| !text.is_empty());
    match (inline, path) {
        (Some(data), _) if given(inline) => {
            decode(data).map(Some).map_err(|reason| format!("{key}-data: {reason}"))
        }
        (_, Some(path)) if given(Some(path)) => {
            let path = Path::new(path);
            files.read(path).map(Some).map_err(|error| unusable(key, path, error))
        }
        _ => Ok(None),
    }
}

/// The token of an auth-provider, the predecessor of plugins.
fn provided(provider: &AuthProviderConfig) -> Result<HeaderValue, String> {
    let advice = match provider.name.as_str() {
        // As it is: nothing renews it but whoever writes the kubeconfig.
        "oidc" => match provider.config.get("id-token").filter(|token| !token.is_empty()) {
            Some(token) => return bearer(token).map_err(|reason| format!("auth-provider oidc: {reason}")),
            None => "there is no id-token; log in first, or use a credential plugin (exec) such as kubelogin",
        },
        "gcp" => "Kubernetes has removed it; use the credential plugin (exec) gke-gcloud-auth-plugin",
        "azure" => "Kubernetes has removed it; use the credential plugin (exec) kubelogin",
        _ => "it is not known; use a credential plugin (exec)",
    };
    Err(format!("auth-provider {:?}: {advice}", provider.name))
}
