//! Why there is no usable configuration.

use std::path::{Path, PathBuf};

/// There is no usable configuration. The words are for the log and the command line, and show no secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// What was named cannot be used.
    #[error("{place}: {reason}")]
    Refused {
        /// The flag, the variable or the file.
        place: String,
        /// What is wrong with it.
        reason: String,
    },
    /// There is neither a kubeconfig nor a service account.
    #[error(
        "no Kubernetes configuration: use --kubeconfig, KUBECONFIG, ~/.kube/config or a pod's service account ({0})"
    )]
    Missing(String),
    /// Reading was interrupted.
    #[error("reading the Kubernetes configuration was interrupted: {0}")]
    Interrupted(String),
}

impl SourceError {
    pub(super) fn refused(place: &str, reason: impl Into<String>) -> Self {
        // One line, whatever others wrote into it.
        Self::Refused { place: place.to_owned(), reason: reason.into().replace(['\n', '\r'], " ") }
    }

    pub(super) fn file(place: &str, path: &Path, error: &std::io::Error) -> Self {
        Self::refused(place, format!("{}: {error}", path.display()))
    }
}

/// A file that the configuration names cannot be used.
pub(super) fn unusable(key: &str, path: &Path, reason: impl std::fmt::Display) -> String {
    format!("{key} {}: {reason}", path.display())
}

/// The paths of a list as text.
pub(super) fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}
