//! The service account of a pod.

use std::path::PathBuf;

use http::Uri;

use super::error::SourceError;
use super::files::Files;
use super::{server, user};
use crate::kubernetes::access::{Access, Endpoint, Impersonation, Trust};
use crate::kubernetes::credentials::authorities;
use crate::kubernetes::proxy::Proxy;

/// How it is named in messages.
pub(super) const NAME: &str = "the pod's service account";
/// Where Kubernetes puts its files.
const FOLDER: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// The service account of the pod that this process runs in.
#[derive(Clone)]
pub(super) struct Pod {
    server: Uri,
    folder: PathBuf,
}

impl Pod {
    /// Finds it in the environment. `None`: this process runs in no pod.
    pub(super) fn from_environment(
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, SourceError> {
        let given = |name| variable(name).filter(|value| !value.is_empty());
        let (Some(host), Some(port)) = (given("KUBERNETES_SERVICE_HOST"), given("KUBERNETES_SERVICE_PORT"))
        else {
            return Ok(None);
        };
        let host = if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host };
        let server = server::parse(&format!("https://{host}:{port}")).map_err(|reason| {
            SourceError::refused(NAME, format!("KUBERNETES_SERVICE_HOST and _PORT: {reason}"))
        })?;
        Ok(Some(Self { server, folder: FOLDER.into() }))
    }

    pub(super) fn server(&self) -> &Uri {
        &self.server
    }

    /// Reads its files.
    pub(super) fn access(&self, proxy: Option<Proxy>, files: &mut Files) -> Result<Access, SourceError> {
        let refused = |reason: String| SourceError::refused(NAME, reason);
        let authorization = user::token_file(&self.folder.join("token"), files).map_err(refused)?;
        let path = self.folder.join("ca.crt");
        let pem = files.read(&path).map_err(|error| SourceError::file(NAME, &path, &error))?;
        let authorities =
            authorities(&pem).map_err(|reason| refused(format!("{}: {reason}", path.display())))?;
        Ok(Access {
            endpoint: Endpoint {
                server: self.server.clone(),
                server_name: None,
                trust: Trust::Authorities(authorities),
                proxy,
                certificate: None,
            },
            authorization: Some(authorization),
            impersonation: Impersonation::default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_names_the_server() {
        let check = |host: &str, port: &str, expected: Option<&str>| {
            let variable = |name: &str| Some(if name.ends_with("HOST") { host } else { port }.to_owned());
            let pod = Pod::from_environment(variable).map(|pod| pod.map(|pod| pod.server.to_string()));
            assert_eq!(pod.ok().flatten().as_deref(), expected, "{host} {port}");
        };
        check("10.0.0.1", "443", Some("https://10.0.0.1:443/"));
        check("fd00::1", "6443", Some("https://[fd00::1]:6443/"));
        check("[fd00::1]", "6443", Some("https://[fd00::1]:6443/"));
        check("kubernetes.default.svc", "443", Some("https://kubernetes.default.svc:443/"));
        check("", "443", None);
        check("10.0.0.1", "", None);
        check("10.0.0.1", "https", None);
    }
}
