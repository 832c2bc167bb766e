//! From a marked target to a repair: what marks targets, the queue, the records, the loop that makes steps and writes,
//! and the reporting of events.

pub mod desired;
pub mod gauges;
pub mod guard_keeper;
pub mod guard_metrics;
pub mod guard_prover;
pub mod guard_removal;
pub mod guard_sink;
pub mod marker;
pub mod metrics;
pub mod observed;
pub mod reconciler;
pub mod records;
pub mod report;
mod status;
pub mod status_keeper;
pub mod statuses;
pub mod target_metrics;
