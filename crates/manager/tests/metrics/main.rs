//! What the metrics of a real server say is what the documentation, the alerts and the dashboard say.
//!
//! `UPDATE_DOCS=1` writes the documentation instead (`make metrics-docs`).

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod exposition;
mod monitoring;
mod reference;
mod server;
