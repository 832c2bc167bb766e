//! ReplicaCounts: settings as objects of the API server.

mod definition;
mod installed;
mod object;
mod refusal;
mod schema;
mod write;

pub use definition::{INSTALL_COMMAND, definition};
pub use installed::{Missing, check_installed};
pub use object::{CreatedAt, ObjectKey, ReplicaCount};
pub use refusal::RequestError;
pub use schema::{
    Condition, EnforcementMode, LastDrift, ReplicaCountSpec, ReplicaCountStatus, TargetRef, Temporary,
};
pub(super) use write::send;
pub use write::{Annotations, OldHistory, WRITE_DEADLINE, create, delete, get, list, update, write_status};
