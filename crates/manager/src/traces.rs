//! Traces in the form of OpenTelemetry: from a request of a client, or from a drift, to the write that it causes.
//!
//! A span is put into a bounded queue when it ends, and a task of its own sends what is there to a collector. If there is
//! no room, the span is dropped and counted, so neither a repair nor a request ever waits. Without a collector there are
//! no spans, and nothing of this costs anything.

pub mod context;
pub mod exporter;
mod span;
mod targets;
mod transport;
mod wire;

pub use self::span::{Kind, Span, Tracer};
pub use self::targets::{Cause, Traces};
pub use self::transport::{Collector, CollectorError, Protocol};
pub(crate) use self::transport::{headers, pairs};
