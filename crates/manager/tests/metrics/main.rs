//! What the metrics of a real server say is what the documentation, the alerts and the dashboard say.
//!
//! `UPDATE_DOCS=1` writes the documentation instead (`make metrics-docs`).

mod exposition;
mod monitoring;
mod reference;
mod server;
