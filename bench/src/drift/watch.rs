//! A watch of Deployments with nothing around it: a line a change, and of that line only the count.

use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use futures_util::{AsyncBufReadExt as _, Stream, stream};
use http::Request;
use kube::Client;
use serde::Deserialize;

/// Lasts longer than any run, and begins with everything there is.
const PARAMETERS: &str = "watch=true&resourceVersion=0&timeoutSeconds=86400";

/// What to watch.
#[derive(Clone, Debug)]
pub(crate) enum Watched {
    /// All Deployments.
    All,
    /// This one.
    One { namespace: &'static str, name: String },
}

impl Watched {
    fn path(&self) -> String {
        match self {
            Self::All => format!("/apis/apps/v1/deployments?{PARAMETERS}"),
            Self::One { namespace, name } => format!(
                "/apis/apps/v1/namespaces/{namespace}/deployments?{PARAMETERS}&fieldSelector=metadata.name%3D{name}"
            ),
        }
    }
}

/// A Deployment that the watch showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) replicas: i32,
    /// When the last byte of the event was there, before anything was made of it.
    pub(super) at: Instant,
}

/// Opens the watch.
pub(super) async fn open(
    client: &Client,
    watched: &Watched,
) -> Result<impl Stream<Item = Result<Seen>> + use<>> {
    let lines = client.request_stream(Request::get(watched.path()).body(Vec::new())?).await?;
    Ok(Box::pin(stream::try_unfold((lines, Vec::new()), async |(mut lines, mut line)| {
        line.clear();
        if lines.read_until(b'\n', &mut line).await.context("the watch broke")? == 0 {
            bail!("the watch ended");
        }
        let seen = parse(&line, Instant::now())?;
        Ok(Some((seen, (lines, line))))
    })))
}

fn parse(line: &[u8], at: Instant) -> Result<Seen> {
    #[derive(Deserialize)]
    struct Event<'a> {
        #[serde(rename = "type")]
        kind: &'a str,
        #[serde(borrow)]
        object: Object<'a>,
    }
    #[derive(Deserialize)]
    struct Object<'a> {
        #[serde(borrow)]
        metadata: Metadata<'a>,
        #[serde(default)]
        spec: Spec,
    }
    #[derive(Deserialize)]
    struct Metadata<'a> {
        #[serde(default)]
        namespace: &'a str,
        #[serde(default)]
        name: &'a str,
    }
    #[derive(Default, Deserialize)]
    struct Spec {
        #[serde(default)]
        replicas: i32,
    }
    let unexpected = || format!("an unexpected line in the watch: {}", String::from_utf8_lossy(line));
    let Event { kind, object } = serde_json::from_slice(line).with_context(unexpected)?;
    if !matches!(kind, "ADDED" | "MODIFIED") {
        bail!(unexpected());
    }
    let Metadata { namespace, name } = object.metadata;
    Ok(Seen { namespace: namespace.to_owned(), name: name.to_owned(), replicas: object.spec.replicas, at })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_benchmark_causes_is_accepted() {
        let at = Instant::now();
        let seen = |replicas| Some(Seen { namespace: "ours".into(), name: "a".into(), replicas, at });
        let cases = [
            (
                r#"{"type":"MODIFIED","object":{"metadata":{"name":"a","namespace":"ours"},"spec":{"replicas":7}}}"#,
                seen(7),
            ),
            (
                r#"{"type":"ADDED","object":{"kind":"Deployment","metadata":{"name":"a","namespace":"ours"},"spec":{}}}"#,
                seen(0),
            ),
            (r#"{"type":"DELETED","object":{"metadata":{"name":"a","namespace":"ours"}}}"#, None),
            (r#"{"type":"ERROR","object":{"kind":"Status","metadata":{},"code":410}}"#, None),
            (r#"{"type":"MODIFIED","obj"#, None),
        ];
        for (line, expected) in cases {
            assert_eq!(parse(line.as_bytes(), at).ok(), expected, "{line}");
        }
    }
}
