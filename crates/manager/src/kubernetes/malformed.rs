//! Objects that no API server should send.

/// An object is not valid.
#[derive(Debug, thiserror::Error)]
#[error("{kind} {namespace:?}/{name:?} from the API server: {reason}")]
pub struct MalformedObject {
    /// Its kind.
    pub kind: &'static str,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What is wrong with it.
    pub reason: String,
}
