//! Whether the objects have been read, and are current.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What is known of the objects. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Reading(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    is_read: bool,
    /// Why the API server refuses to show them. `None`: it does not.
    refused: Option<String>,
    /// Why the last change failed, if that was not due to the change itself.
    unwritable: Option<String>,
}

impl Reading {
    /// Whether all objects have been read once.
    pub(super) fn is_read(&self) -> bool {
        self.lock().is_read
    }

    /// Whether what is known is what the API server has, apart from a delay.
    pub(super) fn is_current(&self) -> bool {
        let state = self.lock();
        state.is_read && state.refused.is_none()
    }

    /// What does not work, in one line.
    pub(super) fn problem(&self) -> Option<String> {
        let state = self.lock();
        state.refused.clone().or_else(|| state.unwritable.clone())
    }

    /// Records that all objects have been read.
    pub(super) fn record_read(&self) {
        self.lock().is_read = true;
    }

    /// Records that the API server shows the objects; returns whether it refused to before.
    pub(super) fn record_live(&self) -> bool {
        self.lock().refused.take().is_some()
    }

    /// Why the API server refuses to show the objects.
    pub(super) fn refused(&self) -> Option<String> {
        self.lock().refused.clone()
    }

    /// Records that the API server refuses to show the objects.
    pub(super) fn record_refused(&self, reason: String) {
        self.lock().refused = Some(reason);
    }

    /// Records whether changes can be stored.
    pub(super) fn record_write(&self, problem: Option<String>) {
        self.lock().unwritable = problem;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
