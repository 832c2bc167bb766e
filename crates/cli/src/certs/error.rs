//! Why no certificates were made.

use std::io;
use std::path::PathBuf;

/// Why no certificates were made. One line each; nothing was written, unless it says so.
#[derive(Debug, thiserror::Error)]
pub enum CertsError {
    /// A file is there already, and `--force` was not given.
    #[error("{} exists; nothing was written (--force replaces it)", .0.display())]
    Exists(PathBuf),
    /// A further person needs the CA of the first run.
    #[error("no CA here: {} does not exist; make it first with `kubectl-replicas certs`", .0.display())]
    NoAuthority(PathBuf),
    /// A file of the CA is there, but cannot be used.
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
        /// The file system's answer.
        source: io::Error,
    },
    /// The crypto library refused to make a key or a certificate.
    #[error("cannot make a certificate: {0}")]
    Generate(#[from] rcgen::Error),
    /// The files were written, but the report of it could not be printed.
    #[error("the certificates are written, but standard output is not writable: {0}")]
    Report(#[source] io::Error),
}
