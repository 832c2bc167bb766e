//! A receiver of notifications over HTTPS, which can stall, fail, redirect, ask to wait and answer garbage. It enforces
//! the limits that Slack documents.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::future::pending;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result};
use http_body_util::{BodyExt as _, Collected, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use crate::ControlPlane;

/// Slack's limits of a message, in blocks and characters.
const MAX_BLOCKS: usize = 50;
const MAX_HEADER: usize = 150;
const MAX_SECTION: usize = 3000;
const MAX_ALL: usize = 13_200;

/// How the receiver answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// It takes the request, and never answers.
    Stall,
    /// It answers with this status.
    Status(u16),
    /// It redirects to this address.
    Redirect(String),
    /// It answers 429, and asks to wait so many seconds.
    Wait(u32),
    /// What it answers is not HTTP.
    Garbage,
}

/// A request that was received.
#[derive(Clone, Debug)]
pub struct Received {
    /// The path.
    pub path: String,
    /// The headers.
    pub headers: HashMap<String, String>,
    /// The body.
    pub body: Vec<u8>,
    /// The status of the answer; 0 if there was none.
    pub status: u16,
}

impl Received {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

#[derive(Debug, Default)]
struct State {
    behaviours: VecDeque<Behaviour>,
    received: Vec<Received>,
}

/// A running receiver. A drop stops it.
#[derive(Debug)]
pub struct Receiver {
    url: String,
    state: Arc<Mutex<State>>,
    serving: JoinHandle<()>,
}

impl Receiver {
    /// Starts a receiver on a free port, with a certificate of the control plane's authority.
    pub async fn start(control_plane: &ControlPlane) -> Result<Self> {
        let acceptor = control_plane.tls_acceptor("receiver")?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("there is no free port")?;
        let url = format!("https://{}", listener.local_addr()?);
        let state = Arc::<Mutex<State>>::default();
        let serving = tokio::spawn(serve(listener, acceptor, Arc::clone(&state)));
        Ok(Self { url, state, serving })
    }

    /// Its URL, without a path.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Behaves like this for the next requests, one after the other, and then takes what is valid.
    pub fn behave(&self, behaviours: impl IntoIterator<Item = Behaviour>) {
        lock(&self.state).behaviours.extend(behaviours);
    }

    /// What was received.
    pub fn received(&self) -> Vec<Received> {
        lock(&self.state).received.clone()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Accepts connections, and closes them when dropped.
async fn serve(listener: TcpListener, acceptor: TlsAcceptor, state: Arc<Mutex<State>>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                let (acceptor, state) = (acceptor.clone(), Arc::clone(&state));
                connections.spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    if is_garbage_due(&state) {
                        let _ = stream.read(&mut [0; 1024]).await;
                        let _ = stream.write_all(b"\0 this is no HTTP\r\n\r\n").await;
                        let _ = stream.shutdown().await;
                        return;
                    }
                    let service = service_fn(|request| receive(Arc::clone(&state), request));
                    let _ = http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(stream), service).await;
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Whether the next answer is garbage; it is taken from what is to come.
fn is_garbage_due(state: &Mutex<State>) -> bool {
    let mut state = lock(state);
    let is_due = state.behaviours.front() == Some(&Behaviour::Garbage);
    if is_due {
        state.behaviours.pop_front();
    }
    is_due
}

async fn receive(
    state: Arc<Mutex<State>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let headers = request.headers().iter();
    let headers = headers
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    let body = request.into_body().collect().await.map(Collected::to_bytes).unwrap_or_default().to_vec();
    let behaviour = lock(&state).behaviours.pop_front();
    let (status, text) = match &behaviour {
        Some(Behaviour::Stall | Behaviour::Garbage) => (0, ""),
        Some(Behaviour::Status(status)) => (*status, "no"),
        Some(Behaviour::Redirect(_)) => (302, ""),
        Some(Behaviour::Wait(_)) => (429, "rate_limited"),
        None if path.starts_with("/slack") => match check_slack(&body) {
            Ok(()) => (200, "ok"),
            Err(reason) => (400, reason),
        },
        None => (202, ""),
    };
    lock(&state).received.push(Received { path, headers, body, status });
    let mut answer = Response::builder().status(status.max(200));
    match behaviour {
        Some(Behaviour::Stall) => pending().await,
        Some(Behaviour::Redirect(to)) => answer = answer.header("location", to),
        Some(Behaviour::Wait(seconds)) => answer = answer.header("retry-after", seconds),
        Some(Behaviour::Garbage | Behaviour::Status(_)) | None => {}
    }
    Ok(answer.body(Full::new(Bytes::from_static(text.as_bytes()))).expect("valid"))
}

/// What Slack checks of a message, and what it says otherwise.
fn check_slack(body: &[u8]) -> Result<(), &'static str> {
    let message: Value = serde_json::from_slice(body).map_err(|_| "invalid_payload")?;
    let blocks = message["blocks"].as_array().ok_or("no_text")?;
    if !(1..=MAX_BLOCKS).contains(&blocks.len()) || message["text"].as_str().is_none_or(str::is_empty) {
        return Err("invalid_blocks");
    }
    let mut all = 0;
    for block in blocks {
        let (text, kind, limit) = match block["type"].as_str() {
            Some("header") => (&block["text"], "plain_text", MAX_HEADER),
            Some("section") => (&block["text"], "mrkdwn", MAX_SECTION),
            Some("context") => (&block["elements"][0], "mrkdwn", MAX_SECTION),
            _ => return Err("invalid_blocks"),
        };
        let length = text["text"].as_str().map_or(0, |text| text.chars().count());
        if text["type"] != kind || !(1..=limit).contains(&length) {
            return Err("invalid_blocks");
        }
        all += length;
    }
    if all > MAX_ALL { Err("msg_blocks_too_long") } else { Ok(()) }
}
