//! Events of Kubernetes about what happened, so that `kubectl describe` tells it below the workload, and below the
//! ReplicaCount where there is one.
//!
//! They follow the history, and nothing waits for them: if there is too much to tell, or the API server does not take
//! them, they are counted and left out.

pub mod metrics;
pub mod recorder;

#[cfg(test)]
mod reference;
