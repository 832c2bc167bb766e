//! The guard in Kubernetes: the object in each namespace that the admission policies use as their parameter.

mod object;
mod proof;
mod write;

pub use object::{Guard, Identity, ReplicaGuard};
pub use proof::{Proof, Trial, can_correct, prove};
pub use write::{GuardError, apply, delete, list};
