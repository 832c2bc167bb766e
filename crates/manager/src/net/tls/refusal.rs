//! Why a connection was refused: the label of the metric, and the reason in the log.

use std::io;

use rustls::CertificateError;

use super::identity::IdentityError;

/// Why a connection was closed before it carried a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The client presented no certificate.
    NoClientCertificate,
    /// The client's certificate is not signed by a trusted CA, or is not for clients.
    UntrustedClientCertificate,
    /// The client's certificate has expired.
    ExpiredClientCertificate,
    /// The client's certificate is not valid yet, or a clock is wrong.
    FutureClientCertificate,
    /// The client's certificate is valid but has no usable identity.
    NoIdentity,
    /// The common name in the client's certificate could be the URI of another client.
    UriInCommonName,
    /// The client refused the server, usually because it does not trust the CA or expects another name.
    RefusedByClient,
    /// The handshake took too long.
    Timeout,
    /// The client does not speak TLS 1.3.
    Protocol,
    /// The limit of connections is reached, for all users or for this one.
    TooManyConnections,
    /// There were too many pending handshakes, and this one was evicted.
    TooManyHandshakes,
    /// The client disconnected before the end of the handshake, like port scanners and TCP probes.
    Disconnected,
    /// The network or the operating system failed.
    Io,
}

impl Refusal {
    pub(super) const ALL: [Self; 13] = [
        Self::NoClientCertificate,
        Self::UntrustedClientCertificate,
        Self::ExpiredClientCertificate,
        Self::FutureClientCertificate,
        Self::NoIdentity,
        Self::UriInCommonName,
        Self::RefusedByClient,
        Self::Timeout,
        Self::Protocol,
        Self::TooManyConnections,
        Self::TooManyHandshakes,
        Self::Disconnected,
        Self::Io,
    ];

    /// The reasons that also end an open connection.
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
            Self::UriInCommonName => "uri_in_common_name",
            Self::RefusedByClient => "refused_by_client",
            Self::Timeout => "timeout",
            Self::Protocol => "protocol",
            Self::TooManyConnections => "too_many_connections",
            Self::TooManyHandshakes => "too_many_handshakes",
            Self::Disconnected => "disconnected",
            Self::Io => "io",
        }
    }

    /// The reason for an error of the handshake.
    pub(super) fn of_handshake(error: &io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(error) => Self::of_tls(error),
            None => Self::of_io(error.kind()),
        }
    }

    /// The reason for a TLS error, for example of a certificate.
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

    /// The reason for a certificate without a usable identity.
    pub(super) fn of_identity(error: IdentityError) -> Self {
        match error {
            IdentityError::UriInCommonName => Self::UriInCommonName,
            IdentityError::Damaged
            | IdentityError::Nobody
            | IdentityError::Ambiguous(_)
            | IdentityError::BadName(_)
            | IdentityError::NoUri
            | IdentityError::TooManyGroups => Self::NoIdentity,
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
