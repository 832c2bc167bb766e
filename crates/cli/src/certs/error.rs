//! Why no certificates were created.

use std::io;
use std::path::PathBuf;

/// Why no certificates were created. Each message is one line. Nothing was written unless it says so.
#[derive(Debug, thiserror::Error)]
pub enum CertsError {
    /// A file exists, and `--force` was not given.
    #[error("{} exists; nothing was written (--force replaces it)", .0.display())]
    Exists(PathBuf),
    /// Another user needs the CA of the first run.
    #[error("no CA here: {} does not exist; create it first with `kubectl-replicas certs`", .0.display())]
    NoAuthority(PathBuf),
    /// A file of the CA exists, but cannot be used.
    #[error("{}: {problem}", file.display())]
    Authority {
        /// The file of the CA.
        file: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The file system refused.
    #[error("cannot write {}: {source}", file.display())]
    Write {
        /// The file or folder.
        file: PathBuf,
        /// The error of the file system.
        source: io::Error,
    },
    /// The crypto library failed to create a key or a certificate.
    #[error("cannot create a certificate: {0}")]
    Generate(#[from] rcgen::Error),
    /// The files were written, but printing their names failed.
    #[error("the certificates are written, but standard output is not writable: {0}")]
    Report(#[source] io::Error),
}
