//! Why a connection was refused: the label of the metric, and the reason in the log.

use std::io;

use rustls::{CertificateError, InvalidMessage, OtherError, PeerIncompatible};

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
    /// The client's certificate is X.509 version 1, like those of `openssl x509 -req` without extensions.
    X509V1ClientCertificate,
    /// The client's certificate is valid but has no usable identity.
    NoIdentity,
    /// The common name in the client's certificate could be the URI of another client.
    UriInCommonName,
    /// The client refused the server, usually because it does not trust the CA or expects another name. It sent an alert,
    /// or just closed the connection.
    RefusedByClient,
    /// The handshake took too long.
    Timeout,
    /// The first bytes are not those of TLS.
    NoTls,
    /// The client offers no TLS 1.3.
    NoTls13,
    /// The client offers no HTTP/2.
    NoHttp2,
    /// The client breaks the rules of TLS, or has no algorithm in common with the server.
    Protocol,
    /// The limit of connections is reached, for all users or for this one.
    TooManyConnections,
    /// There were too many pending handshakes, and this one was evicted.
    TooManyHandshakes,
    /// The client disconnected without a word, like port scanners and TCP probes, or its connection broke.
    Disconnected,
    /// The network or the operating system failed.
    Io,
}

impl Refusal {
    pub(super) const ALL: [Self; 17] = [
        Self::NoClientCertificate,
        Self::UntrustedClientCertificate,
        Self::ExpiredClientCertificate,
        Self::FutureClientCertificate,
        Self::X509V1ClientCertificate,
        Self::NoIdentity,
        Self::UriInCommonName,
        Self::RefusedByClient,
        Self::Timeout,
        Self::NoTls,
        Self::NoTls13,
        Self::NoHttp2,
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
            Self::X509V1ClientCertificate => "x509_v1_client_certificate",
            Self::NoIdentity => "no_identity",
            Self::UriInCommonName => "uri_in_common_name",
            Self::RefusedByClient => "refused_by_client",
            Self::Timeout => "timeout",
            Self::NoTls => "no_tls",
            Self::NoTls13 => "no_tls_1_3",
            Self::NoHttp2 => "no_http_2",
            Self::Protocol => "protocol",
            Self::TooManyConnections => "too_many_connections",
            Self::TooManyHandshakes => "too_many_handshakes",
            Self::Disconnected => "disconnected",
            Self::Io => "io",
        }
    }

    /// What happened, in words that say what to do about it.
    pub(super) fn describe(self, error: &io::Error) -> String {
        match self {
            Self::NoClientCertificate => {
                format!("{error}; clients of Go and Java send none either if theirs is of a CA not asked for")
            }
            Self::X509V1ClientCertificate => {
                "the client's certificate is X.509 version 1; make one of version 3, \
                                              for example with `openssl x509 -req -extfile FILE`"
                    .to_owned()
            }
            Self::RefusedByClient => {
                format!("{error}; the client may not trust the server's CA, or expect another name")
            }
            Self::NoTls => {
                "the client, or a proxy in front, does not use TLS, or sends a PROXY header".to_owned()
            }
            Self::NoTls13 => "the client offers no TLS 1.3; enable it there".to_owned(),
            Self::NoHttp2 => "the client offers no HTTP/2 (h2 by ALPN), which gRPC needs".to_owned(),
            Self::UntrustedClientCertificate
            | Self::ExpiredClientCertificate
            | Self::FutureClientCertificate
            | Self::NoIdentity
            | Self::UriInCommonName
            | Self::Timeout
            | Self::Protocol
            | Self::TooManyConnections
            | Self::TooManyHandshakes
            | Self::Disconnected
            | Self::Io => error.to_string(),
        }
    }

    /// The reason for an error of the handshake with a client that has sent something.
    pub(super) fn of_handshake(error: &io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(error) => Self::of_tls(error),
            // Python's and Node's clients send no alert.
            None if error.kind() == io::ErrorKind::UnexpectedEof => Self::RefusedByClient,
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
            rustls::Error::InvalidCertificate(CertificateError::Other(error)) if is_version_1(error) => {
                Self::X509V1ClientCertificate
            }
            rustls::Error::InvalidCertificate(_) => Self::UntrustedClientCertificate,
            rustls::Error::AlertReceived(_) => Self::RefusedByClient,
            rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => Self::NoTls,
            rustls::Error::PeerIncompatible(
                PeerIncompatible::SupportedVersionsExtensionRequired
                | PeerIncompatible::Tls12NotOffered
                | PeerIncompatible::Tls12NotOfferedOrEnabled,
            ) => Self::NoTls13,
            rustls::Error::NoApplicationProtocol => Self::NoHttp2,
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

    /// The reason for an error of the network.
    pub(super) fn of_io(kind: io::ErrorKind) -> Self {
        match kind {
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::NotConnected => Self::Disconnected,
            _ => Self::Io,
        }
    }
}

fn is_version_1(error: &OtherError) -> bool {
    matches!(error.0.downcast_ref(), Some(webpki::Error::UnsupportedCertVersion))
}
