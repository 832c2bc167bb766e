//! Certificate files, mounted like a Kubernetes secret, so they can change under a running server.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::{Certificates, Options};

/// The files and their flags.
const FILES: [(&str, &str); 3] =
    [("--cert-file", "server.crt"), ("--key-file", "server.key"), ("--ca-cert-file", "ca.crt")];

/// The content of the files.
#[derive(Clone, Debug)]
pub struct Secret {
    /// The server's certificate.
    pub certificate: String,
    /// The server's key.
    pub key: String,
    /// The authorities whose clients are trusted.
    pub authorities: String,
}

impl Secret {
    /// The server's pair and the authority of some certificates.
    pub fn of(certificates: &Certificates) -> Result<Self> {
        let read = |path: PathBuf| {
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        Ok(Self {
            certificate: read(certificates.certificate("server"))?,
            key: read(certificates.key("server"))?,
            authorities: read(certificates.authority())?,
        })
    }
}

/// A folder of symlinks to files in a subfolder that is itself a symlink.
#[derive(Debug)]
pub struct Mount {
    folder: PathBuf,
    versions: u32,
}

impl Mount {
    /// Creates the folder and mounts a secret in it.
    pub fn new(folder: &Path, secret: &Secret) -> Result<Self> {
        fs::create_dir(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        for (_, name) in FILES {
            symlink(format!("..data/{name}"), folder.join(name))?;
        }
        let mut this = Self { folder: folder.to_owned(), versions: 0 };
        this.swap(secret)?;
        Ok(this)
    }

    /// Makes the server use these files.
    #[must_use]
    pub fn used_by(&self, options: Options) -> Options {
        FILES
            .iter()
            .fold(options, |options, (flag, name)| options.argument(flag).argument(self.folder.join(name)))
    }

    /// Replaces all files atomically.
    pub fn swap(&mut self, secret: &Secret) -> Result<()> {
        self.versions += 1;
        let version = format!("..version-{}", self.versions);
        let folder = self.folder.join(&version);
        fs::create_dir(&folder)?;
        let texts = [&secret.certificate, &secret.key, &secret.authorities];
        for ((_, name), text) in FILES.iter().zip(texts) {
            fs::write(folder.join(name), text)?;
        }
        let link = self.folder.join("..data_tmp");
        symlink(version, &link)?;
        fs::rename(link, self.folder.join("..data"))?;
        Ok(())
    }
}
