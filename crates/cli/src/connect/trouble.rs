//! What to do when there is no connection.

use super::pair::Pair;
use super::session::Route;
use crate::failure::Failure;

/// Why a TLS handshake failed, by the words of the TLS library, and what to do.
const ALERTS: [(&str, &str); 7] = [
    ("CertificateExpired", "Your client certificate has expired, says the server: get a new one."),
    ("UnknownCA", "The server does not know the CA that signed your client certificate: use one of its own."),
    ("BadCertificate", "The server refuses your client certificate; its log says why."),
    ("CertificateRequired", "The server refuses your client certificate; its log says why."),
    ("AccessDenied", "The server refuses your client certificate; its log says why."),
    (
        "UnknownIssuer",
        "Your CA has not signed the certificate of this server: check --ca, and whom you are calling.",
    ),
    ("Expired", "The certificate of the server has expired: whoever runs it must renew it."),
];

/// Explains why a call or a connection failed, by the texts of the transport.
pub fn explain(reason: &str, route: &Route, pair: &Pair) -> Failure {
    let to = match route {
        Route::Direct(address) => format!("the server at {address}"),
        Route::Forward(service) => format!("the server behind the Service {service}"),
    };
    let failure = Failure::new(format!("{to}: {reason}"));
    if let Some((_, advice)) = ALERTS.into_iter().find(|(alert, _)| reason.contains(alert)) {
        return failure.advise(format!("{advice} The client certificate is from {pair}."));
    }
    if reason.contains("NotValidForName") || reason.contains("not valid for name") {
        return failure.advise(
            "The certificate of the server has another name: give one that it has with --server-name, or use that address.",
        );
    }
    match route {
        Route::Direct(_) if reason.contains("refused") => {
            failure.advise("Nothing listens there: check the address, or whether the server runs.")
        }
        Route::Forward(service) if reason.contains("is ready") => failure.advise(format!(
            "See why with `kubectl get pods -n {} -l {}`.",
            service.namespace, service.selector
        )),
        Route::Forward(_) if reason.contains("pods/portforward") => failure.advise(
            "You need the right to create pods/portforward in its namespace, or another address with --server HOST:PORT.",
        ),
        Route::Direct(_) | Route::Forward(_) => failure,
    }
}
