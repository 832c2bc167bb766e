//! From a marked target to a repair: the queue, the records, the one loop that decides and writes, and who is told.

pub mod clock;
pub mod metrics;
pub mod reconciler;
pub mod records;
pub mod report;
pub mod work;
