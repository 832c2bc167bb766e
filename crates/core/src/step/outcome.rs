//! How a write that a step requested has ended.

use std::time::Duration;

use crate::decide::Repair;
use crate::failures::WriteError;
use crate::replicas::Replicas;

/// How a write ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The API server acknowledged the write.
    Written {
        /// How long that took.
        took: Duration,
    },
    /// The API server acknowledged it, but admission has stored another count.
    Altered {
        /// The count.
        to: Replicas,
        /// How long that took.
        took: Duration,
    },
    /// It failed, or its outcome is unknown.
    Failed(WriteError),
}

impl Outcome {
    /// The outcome of a write after which the workload has `replicas`. Only the desired count counts as success.
    pub fn of_write(repair: &Repair, replicas: Replicas, took: Duration) -> Self {
        if replicas == repair.to {
            return Self::Written { took };
        }
        Self::Altered { to: replicas, took }
    }
}
