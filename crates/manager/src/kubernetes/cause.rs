//! Why a request to the API server failed: in full for the log, and as a kind for everybody who may see `/healthz`.

use std::error::Error;
use std::fmt;
use std::io::{self, ErrorKind};

use replica_count_client::describe;
use replica_count_client::resolve::ResolveError;

use super::connection::NoCredentials;
use super::connector::{ConnectTimeout, ProxyFailed};
use super::reads::ReadError;

/// An error and all its causes in one line, for the log.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    describe::chain(error).replace('\n', " ")
}

/// The kind of a cause. Its words name no address, user or file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    Credentials,
    Unauthorized,
    Forbidden,
    Proxy,
    Dns,
    Refused,
    Unreachable,
    Untrusted,
    Tls,
    Timeout,
    Overloaded,
    Server,
    Other,
}

impl Cause {
    /// The kind of the outermost cause that has one.
    pub(super) fn of(error: &(dyn Error + 'static)) -> Self {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(cause) = Self::of_one(error) {
                return cause;
            }
            next = error.source();
        }
        Self::Other
    }

    fn of_one(error: &(dyn Error + 'static)) -> Option<Self> {
        if error.is::<NoCredentials>() {
            Some(Self::Credentials)
        } else if error.is::<ProxyFailed>() {
            Some(Self::Proxy)
        } else if error.is::<ResolveError>() {
            Some(Self::Dns)
        } else if error.is::<ConnectTimeout>() || matches!(error.downcast_ref(), Some(ReadError::Deadline)) {
            Some(Self::Timeout)
        } else if let Some(kube::Error::Api(status)) = error.downcast_ref() {
            Some(Self::of_status(status.code))
        } else if let Some(error) = error.downcast_ref::<rustls::Error>() {
            Some(Self::of_tls(error))
        } else {
            error.downcast_ref::<io::Error>().and_then(Self::of_io)
        }
    }

    fn of_status(code: u16) -> Self {
        match code {
            401 => Self::Unauthorized,
            403 => Self::Forbidden,
            429 => Self::Overloaded,
            500.. => Self::Server,
            _ => Self::Other,
        }
    }

    fn of_tls(error: &rustls::Error) -> Self {
        match error {
            rustls::Error::InvalidCertificate(_) => Self::Untrusted,
            _ => Self::Tls,
        }
    }

    fn of_io(error: &io::Error) -> Option<Self> {
        // What it wraps is not its source.
        if let Some(wrapped) = error.get_ref().and_then(|wrapped| Self::of_one(wrapped)) {
            return Some(wrapped);
        }
        match error.kind() {
            ErrorKind::ConnectionRefused => Some(Self::Refused),
            ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable | ErrorKind::NetworkDown => {
                Some(Self::Unreachable)
            }
            ErrorKind::TimedOut => Some(Self::Timeout),
            _ => None,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Credentials => "credentials: there are none to send yet",
            Self::Unauthorized => "unauthorized: the API server does not accept the credentials",
            Self::Forbidden => "forbidden: the API server refuses to show its version",
            Self::Proxy => "proxy: there is no connection through the proxy",
            Self::Dns => "dns: the name of the API server cannot be resolved",
            Self::Refused => "refused: nothing listens at the address of the API server",
            Self::Unreachable => "unreachable: there is no route to the API server",
            Self::Untrusted => "untrusted: the certificate of the API server is not trusted",
            Self::Tls => "tls: the TLS handshake with the API server failed",
            Self::Timeout => "timeout: the API server does not answer in time",
            Self::Overloaded => "overloaded: the API server asks to wait",
            Self::Server => "server: the API server failed",
            Self::Other => "other: the request failed",
        })?;
        formatter.write_str("; see the log")
    }
}

#[cfg(test)]
mod tests {
    use rustls::CertificateError;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("client error (Connect)")]
    struct Wrapper(#[source] Box<dyn Error + Send + Sync>);

    #[track_caller]
    fn check(error: impl Into<Box<dyn Error + Send + Sync>>, expected: Cause) {
        assert_eq!(Cause::of(&Wrapper(error.into())), expected);
    }

    #[test]
    fn the_kind_is_found_below_other_errors() {
        let untrusted = || rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        check(untrusted(), Cause::Untrusted);
        check(io::Error::new(ErrorKind::InvalidData, untrusted()), Cause::Untrusted);
        check(io::Error::other(rustls::Error::HandshakeNotComplete), Cause::Tls);
        check(io::Error::from(ErrorKind::ConnectionRefused), Cause::Refused);
        check(Wrapper(io::Error::from(ErrorKind::TimedOut).into()), Cause::Timeout);
        check(io::Error::from(ErrorKind::HostUnreachable), Cause::Unreachable);
        check(io::Error::from(ErrorKind::BrokenPipe), Cause::Other);
        check(ReadError::Deadline, Cause::Timeout);
        for (code, cause) in [(401, Cause::Unauthorized), (403, Cause::Forbidden), (503, Cause::Server)] {
            let status = kube::core::Status::failure("", "").with_code(code);
            check(kube::Error::Api(status.boxed()), cause);
        }
    }
}
