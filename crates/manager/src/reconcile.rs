//! From a marked target to a repair: what marks targets, the queue, the records, the one loop that makes steps and
//! writes, and who is told.

pub mod desired;
pub mod marker;
pub mod metrics;
pub mod observed;
pub mod readings;
pub mod reconciler;
pub mod records;
pub mod report;
pub mod work;
