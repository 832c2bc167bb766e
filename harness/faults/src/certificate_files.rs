//! The server's certificate files, which change while it runs but are valid whenever it starts.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use replica_count_testbed::manager::{Mount, Options, Secret};

/// The certificate files.
#[derive(Debug)]
pub(crate) struct CertificateFiles(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    mount: Mount,
    valid: Secret,
    is_valid: bool,
}

impl CertificateFiles {
    /// Mounts the certificates of the options.
    pub(crate) fn new(options: &Options, folder: &Path) -> Result<Self> {
        let valid = Secret::of(&options.certificates()?)?;
        let mount = Mount::new(&folder.join("mount"), &valid)?;
        Ok(Self(Mutex::new(Inner { mount, valid, is_valid: true })))
    }

    /// Makes the server use these files.
    pub(crate) fn used_by(&self, options: Options) -> Options {
        self.inner().mount.used_by(options)
    }

    /// Changes the trusted authorities.
    pub(crate) fn trust(&self, authorities: String) -> Result<()> {
        let mut inner = self.inner();
        inner.valid.authorities = authorities;
        inner.put_valid()
    }

    /// Truncates the certificate, as if it were being written.
    pub(crate) fn truncate(&self) -> Result<()> {
        let mut inner = self.inner();
        let mut half = inner.valid.clone();
        half.certificate.truncate(half.certificate.len() / 2);
        inner.is_valid = false;
        inner.mount.swap(&half)
    }

    /// Restores the valid files if necessary.
    pub(crate) fn repair(&self) -> Result<()> {
        let mut inner = self.inner();
        if inner.is_valid { Ok(()) } else { inner.put_valid() }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn put_valid(&mut self) -> Result<()> {
        self.is_valid = true;
        self.mount.swap(&self.valid)
    }
}
