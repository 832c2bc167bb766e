//! Spans, and the queue of those that have ended.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use tokio::sync::mpsc;

use super::context::TraceContext;

/// How many spans may wait for the exporter. A span takes less than 1 KiB.
const MAX_WAITING: usize = 8192;

/// What a span is in a call between programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Something inside this program.
    Internal,
    /// The work on a request of another program.
    Server,
    /// A request to another program.
    Client,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Text(String),
    Number(i64),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<i32> for Value {
    fn from(number: i32) -> Self {
        Self::Number(number.into())
    }
}

/// A span that has ended.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ended {
    pub(super) context: TraceContext,
    pub(super) parent: Option<[u8; 8]>,
    pub(super) name: Cow<'static, str>,
    pub(super) kind: Kind,
    /// Nanoseconds since 1970.
    pub(super) started: u64,
    pub(super) ended: u64,
    pub(super) attributes: Vec<(&'static str, Value)>,
    /// Why it failed. `None`: it did not.
    pub(super) error: Option<String>,
}

/// Counts of spans. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct SpanMetrics {
    pub(super) sent: Counter,
    pub(super) dropped: Counter,
    pub(super) failures: Counter,
}

/// Where spans go when they end. Clones share it; by default, nowhere.
#[derive(Clone, Debug, Default)]
pub struct Tracer(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    queue: mpsc::Sender<Ended>,
    metrics: SpanMetrics,
}

impl Tracer {
    /// A tracer, and the queue of what has ended.
    pub(super) fn new() -> (Self, mpsc::Receiver<Ended>, SpanMetrics) {
        let (queue, ended) = mpsc::channel(MAX_WAITING);
        let metrics = SpanMetrics::default();
        (Self(Some(Arc::new(Inner { queue, metrics: metrics.clone() }))), ended, metrics)
    }

    /// Whether spans go anywhere.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Begins a span. `None`: there are no traces.
    pub fn begin(
        &self,
        name: impl Into<Cow<'static, str>>,
        kind: Kind,
        parent: Option<TraceContext>,
    ) -> Option<Span> {
        self.begin_at(name, kind, parent, SystemTime::now())
    }

    /// Begins a span that has begun at another time.
    pub fn begin_at(
        &self,
        name: impl Into<Cow<'static, str>>,
        kind: Kind,
        parent: Option<TraceContext>,
        started: SystemTime,
    ) -> Option<Span> {
        let tracer = self.0.clone()?;
        let context = parent.map_or_else(TraceContext::root, |parent| parent.child());
        let started = nanoseconds(started);
        let ended = Ended {
            context,
            parent: parent.map(|parent| parent.span),
            name: name.into(),
            kind,
            started,
            ended: started,
            attributes: Vec::new(),
            error: None,
        };
        Some(Span { ended, tracer })
    }

    /// Registers the metrics, if there are traces.
    pub fn register(&self, registry: &mut Registry) {
        let Some(inner) = &self.0 else { return };
        let SpanMetrics { sent, dropped, failures } = &inner.metrics;
        registry.register("spans_sent", "Spans of traces that the collector has taken", sent.clone());
        let help =
            "Spans of traces that were lost, because too many waited or the collector did not take them";
        registry.register("spans_dropped", help, dropped.clone());
        registry.register("span_export_failures", "Requests to the collector that failed", failures.clone());
    }
}

/// A span in progress. If it is dropped, nobody hears of it.
#[derive(Debug)]
pub struct Span {
    ended: Ended,
    tracer: Arc<Inner>,
}

impl Span {
    /// The span and its trace.
    pub fn context(&self) -> TraceContext {
        self.ended.context
    }

    /// Adds an attribute.
    pub(super) fn set(&mut self, name: &'static str, value: impl Into<Value>) {
        self.ended.attributes.push((name, value.into()));
    }

    /// Adds an attribute that is a text.
    pub fn set_text(&mut self, name: &'static str, value: &str) {
        self.set(name, value);
    }

    /// Adds an attribute that is a number.
    pub fn set_number(&mut self, name: &'static str, value: i64) {
        self.set(name, value);
    }

    /// Ends the span, with an error if it failed.
    pub fn end(self, error: Option<String>) {
        self.end_at(SystemTime::now(), error);
    }

    /// Ends the span at another time.
    pub(super) fn end_at(self, ended: SystemTime, error: Option<String>) {
        let Self { ended: span, tracer } = self;
        // The clock may have been set back.
        let ended = nanoseconds(ended).max(span.started);
        if tracer.queue.try_send(Ended { ended, error, ..span }).is_err() {
            tracer.metrics.dropped.inc();
        }
    }
}

/// Nanoseconds since 1970, for the next centuries.
fn nanoseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_that_find_no_room_are_counted() {
        let (tracer, mut ended, metrics) = Tracer::new();
        for _ in 0..MAX_WAITING + 2 {
            tracer.begin("a", Kind::Internal, None).unwrap().end(None);
        }
        assert_eq!(metrics.dropped.get(), 2);
        assert_eq!(ended.len(), MAX_WAITING);
        let parent = TraceContext::root();
        ended.try_recv().unwrap();
        tracer.begin("b", Kind::Client, Some(parent)).unwrap().end(Some("no".to_owned()));
        let last = std::iter::from_fn(|| ended.try_recv().ok()).last().unwrap();
        assert_eq!((last.context.trace, last.parent), (parent.trace, Some(parent.span)));
        assert_eq!((&*last.name, last.error.as_deref()), ("b", Some("no")));
        assert!(last.ended >= last.started);
    }

    #[test]
    fn without_a_collector_there_are_no_spans() {
        assert!(Tracer::default().begin("a", Kind::Internal, None).is_none());
    }
}
