//! The certificate files of the server, which change while it runs. Whenever it starts they are whole.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use replica_count_testbed::manager::{Mount, Options, Secret};

/// The files.
#[derive(Debug)]
pub(crate) struct CertificateFiles(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    mount: Mount,
    whole: Secret,
    is_whole: bool,
}

impl CertificateFiles {
    /// Mounts the certificates of the options.
    pub(crate) fn new(options: &Options, folder: &Path) -> Result<Self> {
        let whole = Secret::of(&options.certificates()?)?;
        let mount = Mount::new(&folder.join("mount"), &whole)?;
        Ok(Self(Mutex::new(Inner { mount, whole, is_whole: true })))
    }

    /// A server that uses them.
    pub(crate) fn used_by(&self, options: Options) -> Options {
        self.inner().mount.used_by(options)
    }

    /// Changes the clients that are trusted.
    pub(crate) fn trust(&self, authorities: String) -> Result<()> {
        let mut inner = self.inner();
        inner.whole.authorities = authorities;
        inner.put_whole()
    }

    /// Cuts the certificate off, as if it were being written.
    pub(crate) fn cut(&self) -> Result<()> {
        let mut inner = self.inner();
        let mut half = inner.whole.clone();
        half.certificate.truncate(half.certificate.len() / 2);
        inner.is_whole = false;
        inner.mount.swap(&half)
    }

    /// Makes them whole if they are not.
    pub(crate) fn mend(&self) -> Result<()> {
        let mut inner = self.inner();
        if inner.is_whole { Ok(()) } else { inner.put_whole() }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn put_whole(&mut self) -> Result<()> {
        self.is_whole = true;
        self.mount.swap(&self.whole)
    }
}
