//! Whether the settings file can be written.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::metrics::gauge::Gauge;
use tracing::info;

/// Whether the last attempt to write the settings file succeeded, at the start or for a change. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Writable {
    problem: Arc<Mutex<Option<String>>>,
    gauge: Gauge,
}

impl Writable {
    /// `problem` is why it failed at the start.
    pub(super) fn new(problem: Option<String>) -> Self {
        let gauge = Gauge::default();
        gauge.set(i64::from(problem.is_none()));
        Self { problem: Arc::new(Mutex::new(problem)), gauge }
    }

    /// Records an attempt, and why it failed.
    pub(super) fn record(&self, problem: Option<String>) {
        self.gauge.set(i64::from(problem.is_none()));
        let is_solved = problem.is_none();
        let before =
            std::mem::replace(&mut *self.problem.lock().unwrap_or_else(PoisonError::into_inner), problem);
        if before.is_some() && is_solved {
            info!("the settings file can be written again");
        }
    }

    /// Why the last attempt failed.
    pub(super) fn problem(&self) -> Option<String> {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// 1 or 0, as a metric.
    pub(super) fn gauge(&self) -> Gauge {
        self.gauge.clone()
    }
}
