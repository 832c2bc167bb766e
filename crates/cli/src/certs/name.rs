//! Valid names in our certificates and in the paths of their files.

use std::net::IpAddr;
use std::str::FromStr;

use rcgen::SanType;
use rustls::pki_types::ServerName;

/// Folders that do not belong to a user.
const RESERVED: [&str; 2] = ["ca", "server"];

/// The limit of X.509 for a common name and an organization, in characters.
const MAX_NAME: usize = 64;

/// The limit of SPIFFE for an identifier, in bytes.
const MAX_URI: usize = 2048;

/// A user name that is also the name of a folder: it cannot leave the certificates' folder and is not hidden.
#[derive(Clone, Debug)]
pub(super) struct UserName(String);

impl UserName {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UserName {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '@');
        if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) || !name.chars().all(allowed) {
            return Err("must begin with a letter or a digit, and contain only letters, digits and . _ - @"
                .to_owned());
        }
        if name.len() > MAX_NAME {
            return Err(format!("longer than {MAX_NAME} characters"));
        }
        // Compared without case, as some file systems do.
        if RESERVED.iter().any(|reserved| reserved.eq_ignore_ascii_case(name)) {
            return Err(format!("the folder `{name}` does not belong to a user"));
        }
        Ok(Self(name.to_owned()))
    }
}

/// The name of a group.
#[derive(Clone, Debug)]
pub(super) struct Group(String);

impl Group {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Group {
    type Err = String;

    fn from_str(group: &str) -> Result<Self, Self::Err> {
        match group.chars().count() {
            0 => Err("empty".to_owned()),
            1..=MAX_NAME if !group.chars().any(char::is_control) => Ok(Self(group.to_owned())),
            1..=MAX_NAME => Err("has control characters".to_owned()),
            _ => Err(format!("longer than {MAX_NAME} characters")),
        }
    }
}

/// A URI that identifies a user.
#[derive(Clone, Debug)]
pub(super) struct Uri(String);

impl Uri {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Uri {
    type Err = String;

    fn from_str(uri: &str) -> Result<Self, Self::Err> {
        let rest = uri.split_once("://").filter(|(scheme, _)| !scheme.is_empty()).map(|(_, rest)| rest);
        if rest.is_none_or(str::is_empty) || !uri.chars().all(|c| c.is_ascii_graphic()) {
            return Err("not a URI such as spiffe://example.org/alice".to_owned());
        }
        if uri.len() > MAX_URI {
            return Err(format!("longer than {MAX_URI} bytes"));
        }
        Ok(Self(uri.to_owned()))
    }
}

/// A DNS name or an IP address of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Host(SanType);

impl Host {
    pub(super) fn subject_alt_name(&self) -> &SanType {
        &self.0
    }
}

impl FromStr for Host {
    type Err = String;

    fn from_str(host: &str) -> Result<Self, Self::Err> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(Self(SanType::IpAddress(address)));
        }
        let refused = || "not a DNS name or an IP address".to_owned();
        // Names in certificates have no final dot, and clients check them by the same rules.
        ServerName::try_from(host).ok().filter(|_| !host.ends_with('.')).ok_or_else(refused)?;
        Ok(Self(SanType::DnsName(host.try_into().map_err(|_| refused())?)))
    }
}
