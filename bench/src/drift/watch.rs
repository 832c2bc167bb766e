//! A watch of Deployments with nothing around it: a line a change, and of that line only the count.

use std::pin::Pin;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use futures_util::{AsyncBufRead, AsyncBufReadExt as _, Stream, stream};
use http::Request;
use kube::Client;
use serde::Deserialize;

/// Lasts longer than any run.
const PARAMETERS: &str = "watch=true&timeoutSeconds=86400";

/// What to watch.
#[derive(Clone, Debug)]
pub(crate) enum Watched {
    /// All Deployments.
    All,
    /// This one.
    One { namespace: &'static str, name: String },
}

impl Watched {
    /// From this version on; from 0, it begins with everything there is.
    fn path(&self, version: u64) -> String {
        let parameters = format!("{PARAMETERS}&resourceVersion={version}");
        match self {
            Self::All => format!("/apis/apps/v1/deployments?{parameters}"),
            Self::One { namespace, name } => format!(
                "/apis/apps/v1/namespaces/{namespace}/deployments?{parameters}&fieldSelector=metadata.name%3D{name}"
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
    let (client, watched) = (client.clone(), watched.clone());
    let lines = lines(&client, &watched, 0).await?;
    let watch = Watch { client, watched, lines, line: Vec::new(), version: 0 };
    Ok(Box::pin(stream::try_unfold(watch, async |mut watch| Ok(Some((watch.next().await?, watch))))))
}

/// The lines of an answer.
type Lines = Pin<Box<dyn AsyncBufRead + Send>>;

/// A watch, and how far it is.
struct Watch {
    client: Client,
    watched: Watched,
    lines: Lines,
    line: Vec<u8>,
    version: u64,
}

impl Watch {
    /// The API server ends a watch that is not read for a moment, as on a busy machine. Then this one goes on from where
    /// it was.
    async fn next(&mut self) -> Result<Seen> {
        self.line.clear();
        while self.lines.read_until(b'\n', &mut self.line).await.context("the watch broke")? == 0 {
            self.lines = lines(&self.client, &self.watched, self.version).await?;
        }
        let (seen, version) = parse(&self.line, Instant::now())?;
        self.version = self.version.max(version);
        Ok(seen)
    }
}

async fn lines(client: &Client, watched: &Watched, version: u64) -> Result<Lines> {
    let request = Request::get(watched.path(version)).body(Vec::new())?;
    Ok(Box::pin(client.request_stream(request).await.context("cannot watch")?))
}

/// What a line shows, and its version.
fn parse(line: &[u8], at: Instant) -> Result<(Seen, u64)> {
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
        #[serde(default, rename = "resourceVersion")]
        version: &'a str,
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
    let Metadata { namespace, name, version } = object.metadata;
    let version = version.parse().with_context(unexpected)?;
    let (namespace, name) = (namespace.to_owned(), name.to_owned());
    Ok((Seen { namespace, name, replicas: object.spec.replicas, at }, version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_benchmark_causes_is_accepted() {
        let at = Instant::now();
        let seen = |replicas| Some((Seen { namespace: "ours".into(), name: "a".into(), replicas, at }, 5));
        let cases = [
            (
                r#"{"type":"MODIFIED","object":{"metadata":{"name":"a","namespace":"ours","resourceVersion":"5"},"spec":{"replicas":7}}}"#,
                seen(7),
            ),
            (
                r#"{"type":"ADDED","object":{"kind":"Deployment","metadata":{"name":"a","namespace":"ours","resourceVersion":"5"},"spec":{}}}"#,
                seen(0),
            ),
            (
                r#"{"type":"DELETED","object":{"metadata":{"name":"a","namespace":"ours","resourceVersion":"5"}}}"#,
                None,
            ),
            (
                r#"{"type":"MODIFIED","object":{"metadata":{"name":"a","namespace":"ours"},"spec":{"replicas":7}}}"#,
                None,
            ),
            (r#"{"type":"ERROR","object":{"kind":"Status","metadata":{},"code":410}}"#, None),
            (r#"{"type":"MODIFIED","obj"#, None),
        ];
        for (line, expected) in cases {
            assert_eq!(parse(line.as_bytes(), at).ok(), expected, "{line}");
        }
    }
}
