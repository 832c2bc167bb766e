//! What may stand in a certificate of ours, and in the path of its files.

use std::net::IpAddr;
use std::str::FromStr;

use rcgen::SanType;
use rustls::pki_types::ServerName;

/// Folders that are not a person's.
const RESERVED: [&str; 2] = ["ca", "server"];

/// X.509's limit of a common name and of an organization, in characters.
const MAX_NAME: usize = 64;

/// SPIFFE's limit of an identifier, in bytes.
const MAX_URI: usize = 2048;

/// A user's name that is also the name of a folder: no way out of the certificates' folder, nothing hidden.
#[derive(Clone, Debug)]
pub(super) struct PersonName(String);

impl PersonName {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PersonName {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '@');
        if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) || !name.chars().all(allowed) {
            return Err("begin with a letter or a digit, then letters, digits and . _ - @ only".to_owned());
        }
        if name.len() > MAX_NAME {
            return Err(format!("longer than {MAX_NAME} characters"));
        }
        // Compared without case, as some file systems do.
        if RESERVED.iter().any(|reserved| reserved.eq_ignore_ascii_case(name)) {
            return Err(format!("the folder `{name}` is not a person's"));
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

/// A name or an address by which clients reach the server.
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
        // A certificate holds a name without its final dot, and clients check the name with the same rules.
        ServerName::try_from(host).ok().filter(|_| !host.ends_with('.')).ok_or_else(refused)?;
        Ok(Self(SanType::DnsName(host.try_into().map_err(|_| refused())?)))
    }
}
