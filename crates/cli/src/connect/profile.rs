//! What `login` remembers for a context: a file that only its owner can read, because it has a private key.

use std::env;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use replica_count_client::Address;
use serde::{Deserialize, Serialize};

use super::pair::{Origin, Pair};
use super::service_name::ServiceName;
use crate::failure::Failure;

/// The digits of an encoded byte.
const HEX: &[u8; 16] = b"0123456789abcdef";

/// The permission bits of everybody else.
const OTHERS: u32 = 0o077;

/// What is remembered for a context.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    /// The address of the server. `None`: it is found in the cluster.
    pub server: Option<Address>,
    /// The name that its certificate must have.
    pub server_name: Option<String>,
    /// The Service of the server.
    pub service: Option<ServiceName>,
    /// The pair. `None`: it is in a Secret.
    pub pair: Option<Pair>,
}

/// The text of a profile.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Text {
    /// For people: the name of the file is an encoding of it.
    context: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    server: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    server_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    service: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ca: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    certificate: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
}

impl Profile {
    /// Reads the profile of a context. `None`: there is none.
    pub fn read(context: &str) -> Result<Option<Self>, Failure> {
        let Some(path) = path(context) else { return Ok(None) };
        let wrong = |problem: &str| {
            Failure::new(format!("{}: {problem}", path.display())).advise(
                "`kubectl replicas login` writes it anew; `kubectl replicas login --forget` deletes it.",
            )
        };
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(wrong(&error.to_string())),
        };
        let mode = fs::metadata(&path).map_err(|error| wrong(&error.to_string()))?.mode();
        if mode & OTHERS != 0 {
            return Err(Failure::new(format!(
                "{}: others may read this file, and it has a private key",
                path.display()
            ))
            .advise(format!("chmod 600 '{}'", path.display())));
        }
        let text: Text = serde_json::from_slice(&text).map_err(|error| wrong(&error.to_string()))?;
        Self::from_text(text).map(Some).map_err(|problem| wrong(&problem))
    }

    fn from_text(text: Text) -> Result<Self, String> {
        let server = text.server.map(|server| server.parse::<Address>()).transpose();
        let service = text.service.map(|service| service.parse::<ServiceName>()).transpose();
        let pair = match (text.ca, text.certificate, text.key) {
            (Some(ca), Some(certificate), Some(key)) => Some(Pair {
                authority: ca.into_bytes(),
                certificate: certificate.into_bytes(),
                key: key.into_bytes(),
                origin: Origin::Profile,
            }),
            (None, None, None) => None,
            _ => return Err("ca, certificate and key belong together".to_owned()),
        };
        Ok(Self {
            server: server.map_err(|error| format!("server: {error}"))?,
            server_name: text.server_name,
            service: service.map_err(|error| format!("service: {error}"))?,
            pair,
        })
    }

    /// Writes the profile of a context, readable by its owner only. Returns its path.
    pub fn write(&self, context: &str) -> Result<PathBuf, Failure> {
        let path = path(context)
            .ok_or_else(|| Failure::new("there is no folder for profiles: set HOME or XDG_CONFIG_HOME"))?;
        let pem = |part: fn(&Pair) -> &Vec<u8>| {
            self.pair.as_ref().map(|pair| String::from_utf8_lossy(part(pair)).into_owned())
        };
        let text = Text {
            context: context.to_owned(),
            server: self.server.as_ref().map(ToString::to_string),
            server_name: self.server_name.clone(),
            service: self.service.as_ref().map(|service| format!("{}/{}", service.namespace, service.name)),
            ca: pem(|pair| &pair.authority),
            certificate: pem(|pair| &pair.certificate),
            key: pem(|pair| &pair.key),
        };
        let text = serde_json::to_vec_pretty(&text).expect("strings are JSON");
        match replace(&path, &text) {
            Ok(()) => Ok(path),
            Err(error) => Err(Failure::new(format!("{} cannot be written: {error}", path.display()))),
        }
    }

    /// Deletes the profile of a context. `None`: there was none.
    pub fn forget(context: &str) -> Result<Option<PathBuf>, Failure> {
        let Some(path) = path(context) else { return Ok(None) };
        match fs::remove_file(&path) {
            Ok(()) => Ok(Some(path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Failure::new(format!("{} cannot be deleted: {error}", path.display()))),
        }
    }

    pub(super) fn pair(&self) -> Option<Pair> {
        self.pair.clone()
    }

    pub(super) fn service(&self) -> Option<ServiceName> {
        self.service.clone()
    }
}

/// Replaces a file at once.
fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let folder = path.parent().expect("it is in a folder");
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    let written = file.write_all(text).and_then(|()| file.sync_all());
    let written = written.and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// The file of a context. `None`: this user has no folder for settings.
fn path(context: &str) -> Option<PathBuf> {
    let variable = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = variable("XDG_CONFIG_HOME").or_else(|| Some(variable("HOME")?.join(".config")))?;
    Some(folder.join("kubectl-replicas").join(file_name(context)))
}

/// The names of contexts have slashes and colons, and case matters.
fn file_name(context: &str) -> String {
    let mut name = String::new();
    for byte in context.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => name.push(byte.into()),
            b'.' if !name.is_empty() => name.push('.'),
            byte => {
                name.push('%');
                name.extend([byte >> 4, byte & 15].map(|digit| char::from(HEX[usize::from(digit)])));
            }
        }
    }
    name.push_str(".json");
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_context_has_a_file_of_its_own() {
        for (context, file) in [
            ("minikube", "minikube.json"),
            ("arn:aws:eks:eu-west-1:1:cluster/a", "arn%3aaws%3aeks%3aeu-west-1%3a1%3acluster%2fa.json"),
            ("../x", "%2e.%2fx.json"),
            ("a.b", "a.b.json"),
        ] {
            assert_eq!(file_name(context), file);
        }
    }
}
