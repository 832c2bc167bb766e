//! One request: its fault and its answer.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::stream;
use http::response::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use kube::client::Body as KubeBody;
use replica_count_wire::messages::{ObjectMeta, Scale, ScaleSpec};
use replica_count_wire::{Encoding, Envelope};
use serde_json::json;
use tokio::time;

use super::relay::Relay;
use super::status::{GONE, Status};
use super::{Encodings, Fault, Kind, Note, Shared, StreamFault};

/// The body of an answer.
pub(super) type Body = UnsyncBoxBody<Bytes, Cut>;

/// Closes the connection immediately.
#[derive(Debug)]
pub(super) struct Cut;

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("cut by the fault proxy")
    }
}

impl std::error::Error for Cut {}

/// A request in flight.
pub(super) struct Exchange {
    shared: Arc<Shared>,
    ordinal: u64,
    kind: Kind,
    method: Method,
    uri: http::Uri,
    headers: HeaderMap,
    body: Bytes,
}

impl Exchange {
    /// Assigns the request an ordinal, and applies the fault planned for it.
    pub(super) async fn begin(
        shared: Arc<Shared>,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, Cut> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(|_| Cut)?.to_bytes();
        let ordinal = shared.ordinals.fetch_add(1, Ordering::SeqCst);
        let kind = Kind::of(&head.method, &head.uri);
        let (method, uri, mut headers) = (head.method, head.uri, head.headers);
        if shared.encodings == Encodings::JsonOnly && accepts_protobuf(&headers) {
            headers.insert(header::ACCEPT, HeaderValue::from_static(Encoding::Json.media_type()));
        }
        let this = Self { shared, ordinal, kind, method, uri, headers, body };
        let fault = this.shared.fault(ordinal, kind, this.uri.path());
        this.record(Note::Request {
            kind,
            method: this.method.to_string(),
            uri: this.uri.to_string(),
            body: readable(&this.body),
            fault,
        });
        let answer = if kind == Kind::Watch && this.shared.memory.is_gone(this.uri.path()) {
            this.refuse(GONE, None)?
        } else {
            this.apply(fault).await?
        };
        this.record(Note::Answered { status: answer.status().as_u16() });
        Ok(answer)
    }

    async fn apply(&self, fault: Option<Fault>) -> Result<Response<Body>, Cut> {
        match fault {
            // These are recorded when they happen.
            None | Some(Fault::CutAnswer | Fault::StaleList | Fault::Stream(_)) => {}
            Some(_) => self.record(Note::Injected),
        }
        match fault {
            None => self.pass(None).await,
            Some(Fault::Delay { ms }) => {
                time::sleep(Duration::from_millis(ms)).await;
                self.pass(None).await
            }
            Some(Fault::Freeze) => pending().await,
            Some(Fault::Cut) => Err(Cut),
            Some(Fault::Refuse { status, retry_after_seconds }) => {
                if status == GONE {
                    self.shared.memory.note_gone(self.uri.path());
                }
                self.refuse(status, retry_after_seconds)
            }
            Some(Fault::LoseAnswer) => {
                self.execute().await?;
                Err(Cut)
            }
            Some(Fault::FreezeAnswer) => {
                self.execute().await?;
                pending().await
            }
            Some(Fault::CutAnswer) => self.cut_answer().await,
            Some(Fault::StaleList) => self.stale_list().await,
            Some(Fault::Stream(fault)) => self.pass(Some(fault)).await,
            Some(Fault::CrashBefore) => self.crash().await,
            Some(Fault::CrashAfter) => {
                self.execute().await?;
                self.crash().await
            }
        }
    }

    /// Forwards the request and its answer.
    async fn pass(&self, fault: Option<StreamFault>) -> Result<Response<Body>, Cut> {
        let (head, body) = self.forward().await?;
        let encoding = encoding(&head);
        if self.kind.is_stream() && head.status.is_success() {
            if self.kind == Kind::ListAsStream {
                self.shared.memory.note_listed(self.uri.path());
            }
            let (shared, path) = (Arc::clone(&self.shared), self.uri.path());
            let relay = Relay::new(shared, self.ordinal, path, self.kind, encoding, fault);
            return Ok(Response::from_parts(head, relay.body(body)));
        }
        let body = body.collect_bytes().await.map_err(|_| Cut)?;
        if self.kind == Kind::List && head.status.is_success() {
            self.shared.memory.keep_listing(self.kind, self.uri.path(), encoding, body.clone());
            self.shared.memory.note_listed(self.uri.path());
        }
        Ok(Response::from_parts(head, whole(body)))
    }

    /// Forwards the request, and discards the answer.
    async fn execute(&self) -> Result<(), Cut> {
        let (_, body) = self.forward().await?;
        if !self.kind.is_stream() {
            body.collect_bytes().await.map_err(|_| Cut)?;
        }
        Ok(())
    }

    async fn cut_answer(&self) -> Result<Response<Body>, Cut> {
        if self.kind.is_stream() {
            return self.pass(Some(StreamFault::Cut { at: 0 })).await;
        }
        let (head, body) = self.forward().await?;
        let mut body = body.collect_bytes().await.map_err(|_| Cut)?;
        self.record(Note::Injected);
        body.truncate(body.len() / 2);
        let parts = stream::iter([Ok(Frame::data(body)), Err(Cut)]);
        Ok(Response::from_parts(head, StreamBody::new(parts).boxed_unsync()))
    }

    async fn stale_list(&self) -> Result<Response<Body>, Cut> {
        match self.shared.memory.listing(self.kind, self.uri.path()) {
            Some((encoding, listing)) => {
                self.record(Note::Injected);
                self.shared.memory.note_listed(self.uri.path());
                let answer = Response::builder().header(header::CONTENT_TYPE, encoding.media_type());
                Ok(answer.body(whole(listing)).expect("valid"))
            }
            None => self.pass(None).await,
        }
    }

    /// Requests a kill of the server, which closes this connection and ends this request.
    async fn crash(&self) -> Result<Response<Body>, Cut> {
        // Fails only if the proxy is being dropped.
        let _ = self.shared.crashes.send(self.ordinal);
        pending().await
    }

    async fn forward(&self) -> Result<(Parts, KubeBody), Cut> {
        let mut request = Request::builder()
            .method(&self.method)
            .uri(self.uri.clone())
            .body(KubeBody::from(self.body.to_vec()))
            .expect("it came as a request");
        *request.headers_mut() = self.headers.clone();
        request.headers_mut().remove(header::HOST);
        let (mut head, body) = self.shared.api_server.send(request).await.map_err(|_| Cut)?.into_parts();
        head.headers.remove(header::TRANSFER_ENCODING);
        self.record(Note::Served { status: head.status.as_u16(), content_type: content_type(&head) });
        Ok((head, body))
    }

    /// Answers with an error as the API server would, in the requested encoding.
    fn refuse(&self, status: u16, retry_after_seconds: Option<u64>) -> Result<Response<Body>, Cut> {
        let encoding = if accepts_protobuf(&self.headers) { Encoding::Protobuf } else { Encoding::Json };
        let mut answer = Response::builder()
            .status(StatusCode::from_u16(status).map_err(|_| Cut)?)
            .header(header::CONTENT_TYPE, encoding.media_type());
        if let Some(seconds) = retry_after_seconds {
            answer = answer.header(header::RETRY_AFTER, seconds);
        }
        Ok(answer.body(whole(Status::of(status).answer(encoding))).expect("valid"))
    }

    fn record(&self, note: Note) {
        self.shared.record(self.ordinal, note);
    }
}

/// A body in JSON, or a Scale in protobuf with the fields that a write needs.
fn readable(body: &Bytes) -> Option<serde_json::Value> {
    let scale = || {
        let Scale { metadata, spec } = Envelope::open(body.clone()).ok()?.object().ok()?;
        let (ObjectMeta { uid, resource_version, .. }, ScaleSpec { replicas }) = (metadata?, spec?);
        let metadata = json!({ "uid": uid, "resourceVersion": resource_version });
        Some(json!({ "metadata": metadata, "spec": { "replicas": replicas } }))
    };
    serde_json::from_slice(body).ok().or_else(scale)
}

fn whole(body: Bytes) -> Body {
    Full::new(body).map_err(|never| match never {}).boxed_unsync()
}

fn accepts_protobuf(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    accept.is_some_and(|types| types.contains(Encoding::Protobuf.media_type()))
}

fn content_type(head: &Parts) -> Option<String> {
    Some(head.headers.get(header::CONTENT_TYPE)?.to_str().ok()?.to_owned())
}

fn encoding(head: &Parts) -> Encoding {
    Encoding::of(content_type(head).unwrap_or_default().as_bytes())
}
