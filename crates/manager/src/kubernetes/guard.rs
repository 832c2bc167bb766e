//! The guard in Kubernetes: the object in each namespace that the admission policies use as their parameter.

mod lack;
mod object;
mod proof;
mod write;

pub use lack::{Lack, are_installed, diagnose, missing_for};
pub use object::{Guard, Identity, ReplicaGuard};
pub use proof::{Proof, Trial, prove};
pub use write::{DEADLINE, GuardError, apply, delete, list};
