//! The objects that can be watched.

use std::fmt::Debug;

use serde::de::DeserializeOwned;

/// An object of the API as this server reads it, in JSON and in protobuf.
pub trait Object: Clone + Debug + DeserializeOwned + From<Self::Message> + Send + 'static {
    /// The protobuf message.
    type Message: prost::Message + Default;

    /// `metadata.resourceVersion`.
    fn resource_version(&self) -> Option<&str>;
}
