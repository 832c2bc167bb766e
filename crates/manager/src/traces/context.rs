//! The context of a span, as in the header `traceparent` of W3C Trace Context.

use std::fmt::{self, Write as _};

use aws_lc_rs::rand;

tokio::task_local! {
    /// The span of the request that a task works on.
    static CURRENT: TraceContext;
}

/// A span and its trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace.
    pub trace: [u8; 16],
    /// The span.
    pub span: [u8; 8],
}

/// What a caller says about its own span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remote {
    /// The span of the caller.
    pub context: TraceContext,
    /// Whether the caller's span is recorded. If not, nobody wants to see what follows from it either.
    pub is_sampled: bool,
}

impl TraceContext {
    /// A span that begins a trace.
    pub fn root() -> Self {
        Self { trace: random(), span: random() }
    }

    /// Another span of the same trace.
    #[must_use]
    pub fn child(&self) -> Self {
        Self { span: random(), ..*self }
    }

    /// The span of the request that this task works on.
    pub fn current() -> Option<Self> {
        CURRENT.try_with(|context| *context).ok()
    }

    /// Runs the work on a request whose span this is.
    pub async fn scope<F: Future>(self, work: F) -> F::Output {
        CURRENT.scope(self, work).await
    }
}

/// Random bytes, which are as good as never all 0.
fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    if rand::fill(&mut bytes).is_err() {
        fastrand::fill(&mut bytes);
    }
    bytes
}

impl fmt::Display for TraceContext {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = |bytes: &[u8]| {
            bytes.iter().fold(String::new(), |mut text, byte| {
                let _ = write!(text, "{byte:02x}");
                text
            })
        };
        write!(formatter, "00-{}-{}-01", hex(&self.trace), hex(&self.span))
    }
}

impl Remote {
    /// Reads the value of a header `traceparent`. `None`: it is not valid, and is to be ignored.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let [version, trace, span, flags] = [parts.next()?, parts.next()?, parts.next()?, parts.next()?];
        let [version] = bytes(version)?;
        // Later versions may say more.
        if version == 0xff || (version == 0 && parts.next().is_some()) {
            return None;
        }
        let context = TraceContext { trace: bytes(trace)?, span: bytes(span)? };
        let [flags] = bytes(flags)?;
        let is_valid = context.trace != [0; 16] && context.span != [0; 8];
        is_valid.then_some(Self { context, is_sampled: flags & 1 == 1 })
    }
}

/// Bytes in lower-case hexadecimal digits.
fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    let is_digit = |digit: u8| digit.is_ascii_digit() || (b'a'..=b'f').contains(&digit);
    if text.len() != 2 * N || !text.bytes().all(is_digit) {
        return None;
    }
    let mut bytes = [0; N];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    #[test]
    fn a_caller_names_its_span() {
        let parse = |text: &str| Remote::parse(text);
        let remote = parse(&format!("00-{TRACE}-{SPAN}-01")).unwrap();
        assert_eq!(remote.context.to_string(), format!("00-{TRACE}-{SPAN}-01"));
        assert!(remote.is_sampled);
        assert!(!parse(&format!("00-{TRACE}-{SPAN}-00")).unwrap().is_sampled);
        assert_eq!(parse(&format!("cc-{TRACE}-{SPAN}-03-more")).map(|remote| remote.is_sampled), Some(true));
        for text in [
            String::new(),
            "00".to_owned(),
            format!("00-{TRACE}-{SPAN}"),
            format!("00-{TRACE}-{SPAN}-01-more"),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            format!("00-{TRACE}0-{SPAN}-01"),
            format!("00-{}-{SPAN}-01", "0".repeat(32)),
            format!("00-{TRACE}-{}-01", "0".repeat(16)),
            format!("00-{TRACE}-{SPAN}-1"),
            format!("00-{TRACE}-{SPAN}-0\u{e9}"),
        ] {
            assert_eq!(parse(&text), None, "{text}");
        }
    }

    #[tokio::test]
    async fn a_task_knows_the_span_of_its_request() {
        let root = TraceContext::root();
        let child = root.child();
        assert_eq!(root.trace, child.trace);
        assert_ne!(root.span, child.span);
        assert_eq!(TraceContext::current(), None);
        assert_eq!(child.scope(async { TraceContext::current() }).await, Some(child));
    }
}
