//! A watch of Deployments with nothing around it: of each event only the count, in the encoding of the server.

use std::pin::Pin;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use futures_util::{AsyncBufRead, AsyncBufReadExt as _, Stream, stream};
use http::{Request, header};
use kube::Client;
use prost::Message;
use replica_count_wire::{Encoding, Event, Frames};

/// Lasts longer than any run.
const PARAMETERS: &str = "watch=true&timeoutSeconds=86400";

/// What to watch.
#[derive(Clone, Debug)]
pub(crate) enum Watched {
    /// All Deployments.
    All,
    /// Those of a namespace.
    Namespace(String),
    /// This one.
    One { namespace: &'static str, name: String },
}

impl Watched {
    /// From this version on; from 0, it begins with everything there is.
    fn path(&self, version: u64) -> String {
        let parameters = format!("{PARAMETERS}&resourceVersion={version}");
        match self {
            Self::All => format!("/apis/apps/v1/deployments?{parameters}"),
            Self::Namespace(namespace) => {
                format!("/apis/apps/v1/namespaces/{namespace}/deployments?{parameters}")
            }
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

/// An API server that has no other encoding refuses.
const ACCEPT: &str = "application/vnd.kubernetes.protobuf;stream=watch";

/// Opens the watch.
pub(super) async fn open(
    client: &Client,
    watched: &Watched,
) -> Result<impl Stream<Item = Result<Seen>> + use<>> {
    let (client, watched) = (client.clone(), watched.clone());
    let body = ask(&client, &watched, 0).await?;
    let watch = Watch { client, watched, body, frames: Frames::new(Encoding::Protobuf), version: 0 };
    Ok(Box::pin(stream::try_unfold(watch, async |mut watch| Ok(Some((watch.next().await?, watch))))))
}

/// The body of an answer.
type Body = Pin<Box<dyn AsyncBufRead + Send>>;

/// A watch, and how far it is.
struct Watch {
    client: Client,
    watched: Watched,
    body: Body,
    frames: Frames,
    version: u64,
}

impl Watch {
    /// The API server ends a watch that is not read for a moment, as on a busy machine. Then this one goes on from where
    /// it was.
    async fn next(&mut self) -> Result<Seen> {
        loop {
            if let Some(frame) = self.frames.take()? {
                let at = Instant::now();
                let (seen, version) = read(Event::read(frame)?, at)?;
                self.version = self.version.max(version);
                return Ok(seen);
            }
            let arrived = self.body.fill_buf().await.context("the watch broke")?;
            let length = arrived.len();
            self.frames.push(arrived);
            self.body.consume_unpin(length);
            if length == 0 {
                self.frames = Frames::new(Encoding::Protobuf);
                self.body = ask(&self.client, &self.watched, self.version).await?;
            }
        }
    }
}

async fn ask(client: &Client, watched: &Watched, version: u64) -> Result<Body> {
    let request = Request::get(watched.path(version)).header(header::ACCEPT, ACCEPT);
    Ok(Box::pin(client.request_stream(request.body(Vec::new())?).await.context("cannot watch")?))
}

/// A Deployment without all that is of no use here.
#[derive(Clone, PartialEq, Message)]
struct Deployment {
    #[prost(message, required, tag = "1")]
    metadata: Metadata,
    #[prost(message, required, tag = "2")]
    spec: Spec,
}

#[derive(Clone, PartialEq, Message)]
struct Metadata {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "3")]
    namespace: String,
    #[prost(string, tag = "6")]
    version: String,
}

#[derive(Clone, PartialEq, Message)]
struct Spec {
    #[prost(int32, tag = "1")]
    replicas: i32,
}

/// What an event shows, and its version.
fn read(event: Event, at: Instant) -> Result<(Seen, u64)> {
    let Event { r#type: kind, object } = event;
    ensure!(matches!(kind.as_str(), "ADDED" | "MODIFIED"), "an unexpected event in the watch: {kind}");
    let Deployment { metadata: Metadata { name, namespace, version }, spec } = object.object()?;
    let version = version.parse().with_context(|| format!("{namespace}/{name} of version {version:?}"))?;
    Ok((Seen { namespace, name, replicas: spec.replicas, at }, version))
}

#[cfg(test)]
mod tests {
    use replica_count_wire::Envelope;

    use super::*;

    #[test]
    fn only_what_the_benchmark_causes_is_accepted() {
        let at = Instant::now();
        let shown = |r#type: &str, version: &str, replicas| {
            let (name, namespace) = ("a".to_owned(), "ours".to_owned());
            let metadata = Metadata { name, namespace, version: version.to_owned() };
            let object =
                Envelope::new("apps/v1", "Deployment", &Deployment { metadata, spec: Spec { replicas } });
            read(Event { r#type: r#type.to_owned(), object }, at).ok()
        };
        let seen = |replicas| Some((Seen { namespace: "ours".into(), name: "a".into(), replicas, at }, 5));
        assert_eq!(shown("MODIFIED", "5", 7), seen(7));
        assert_eq!(shown("ADDED", "5", 0), seen(0));
        assert_eq!(shown("DELETED", "5", 7), None);
        assert_eq!(shown("ERROR", "5", 7), None);
        assert_eq!(shown("MODIFIED", "", 7), None);
    }
}
