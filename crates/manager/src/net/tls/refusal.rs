//! Why a connection was refused: the label of the metric, and what the log says.

use std::io;

use rustls::CertificateError;

/// Why a connection was closed before it carried a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The client showed no certificate.
    NoClientCertificate,
    /// The client's certificate is not signed by a CA of ours, or is not for clients.
    UntrustedClientCertificate,
    /// The time of the client's certificate is over.
    ExpiredClientCertificate,
    /// The time of the client's certificate has not come, or a clock is wrong.
    FutureClientCertificate,
    /// The client's certificate is good but names nobody.
    NoIdentity,
    /// The client refused us: most often it does not trust our CA, or calls us by another name.
    RefusedByClient,
    /// The handshake took too long.
    Timeout,
    /// What the client said is not TLS 1.3.
    Protocol,
    /// All places are taken, or all that one user may have.
    TooManyConnections,
    /// Too many clients are in the handshake, and this one was in it for the longest.
    TooManyHandshakes,
    /// The client went away before the handshake was over, as port scanners and TCP probes do.
    Disconnected,
    /// The network or the operating system failed.
    Io,
}

impl Refusal {
    pub(super) const ALL: [Self; 12] = [
        Self::NoClientCertificate,
        Self::UntrustedClientCertificate,
        Self::ExpiredClientCertificate,
        Self::FutureClientCertificate,
        Self::NoIdentity,
        Self::RefusedByClient,
        Self::Timeout,
        Self::Protocol,
        Self::TooManyConnections,
        Self::TooManyHandshakes,
        Self::Disconnected,
        Self::Io,
    ];

    /// What can also be said of a client that is connected already.
    pub(super) const OF_CERTIFICATES: [Self; 3] =
        [Self::UntrustedClientCertificate, Self::ExpiredClientCertificate, Self::FutureClientCertificate];

    /// The value of the metric's label.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::NoClientCertificate => "no_client_certificate",
            Self::UntrustedClientCertificate => "untrusted_client_certificate",
            Self::ExpiredClientCertificate => "expired_client_certificate",
            Self::FutureClientCertificate => "future_client_certificate",
            Self::NoIdentity => "no_identity",
            Self::RefusedByClient => "refused_by_client",
            Self::Timeout => "timeout",
            Self::Protocol => "protocol",
            Self::TooManyConnections => "too_many_connections",
            Self::TooManyHandshakes => "too_many_handshakes",
            Self::Disconnected => "disconnected",
            Self::Io => "io",
        }
    }

    /// The reason behind an error of the handshake.
    pub(super) fn of_handshake(error: &io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(error) => Self::of_tls(error),
            None => Self::of_io(error.kind()),
        }
    }

    /// The reason behind an error of TLS, for example of a certificate.
    pub(super) fn of_tls(error: &rustls::Error) -> Self {
        match error {
            rustls::Error::NoCertificatesPresented => Self::NoClientCertificate,
            rustls::Error::InvalidCertificate(
                CertificateError::Expired | CertificateError::ExpiredContext { .. },
            ) => Self::ExpiredClientCertificate,
            rustls::Error::InvalidCertificate(
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
            ) => Self::FutureClientCertificate,
            rustls::Error::InvalidCertificate(_) => Self::UntrustedClientCertificate,
            rustls::Error::AlertReceived(_) => Self::RefusedByClient,
            _ => Self::Protocol,
        }
    }

    fn of_io(kind: io::ErrorKind) -> Self {
        match kind {
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::NotConnected => Self::Disconnected,
            _ => Self::Io,
        }
    }
}
