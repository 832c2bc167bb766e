//! A proxy between the server and its API server that injects faults of networks and API servers.
//!
//! It terminates the server's TLS with a certificate of the control plane's authority and forwards its requests,
//! including tokens, to the real API server. It speaks HTTP/1.1, as the server's client does. Each request gets an
//! ordinal, and a *plan* chooses its [`Fault`] by ordinal and kind, so the same plan injects the same faults again. All
//! that happens is reported as [`Entry`]s, which make up the trace of a run.
//!
//! Only the faults are artificial: all other answers come from a real API server. A stale listing is an earlier answer
//! of that server, repeated, as a lagging server would give it. The proxy understands events in JSON and in protobuf,
//! whichever the API server uses.

mod entry;
mod event;
mod exchange;
mod fault;
mod kind;
mod memory;
mod relay;
mod status;

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::{Context as _, Result};
pub use entry::{Entry, Note};
pub use event::Event;
use exchange::Exchange;
pub use fault::{Fault, StreamFault};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
pub use kind::Kind;
use memory::Memory;
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use crate::ControlPlane;
use crate::control_plane::Scope;

/// Chooses the fault of a request by its ordinal (from 0), kind and path.
pub type Plan = Box<dyn Fn(u64, Kind, &str) -> Option<Fault> + Send + Sync>;

/// Receives every entry.
pub type Observer = Box<dyn Fn(Entry) + Send + Sync>;

/// Which encodings the API server may use in its answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encodings {
    /// Any that the request accepts.
    #[default]
    AsAsked,
    /// Only JSON, whatever else the request accepts, like an API server without protobuf.
    JsonOnly,
}

impl Encodings {
    /// Their name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::AsAsked => "as asked",
            Self::JsonOnly => "in JSON only",
        }
    }
}

/// A running proxy. A drop stops it and closes all its connections.
pub struct FaultProxy {
    url: String,
    shared: Arc<Shared>,
    crashes: mpsc::UnboundedReceiver<u64>,
    serving: JoinHandle<()>,
}

/// What all requests share.
struct Shared {
    api_server: kube::Client,
    encodings: Encodings,
    plan: Plan,
    observer: Observer,
    ordinals: AtomicU64,
    is_healed: AtomicBool,
    memory: Memory,
    crashes: mpsc::UnboundedSender<u64>,
}

impl FaultProxy {
    /// Starts a proxy in front of the API server of `control_plane`, on a free port.
    pub async fn start(
        control_plane: &ControlPlane,
        encodings: Encodings,
        plan: Plan,
        observer: Observer,
    ) -> Result<Self> {
        let acceptor = control_plane.tls_acceptor("fault-proxy")?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("there is no free port")?;
        let url = format!("https://{}", listener.local_addr()?);
        let (crash, crashes) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            api_server: control_plane.anonymous()?,
            encodings,
            plan,
            observer,
            ordinals: AtomicU64::new(0),
            is_healed: AtomicBool::new(false),
            memory: Memory::default(),
            crashes: crash,
        });
        let serving = tokio::spawn(serve(listener, acceptor, Arc::clone(&shared)));
        Ok(Self { url, shared, crashes, serving })
    }

    /// The kubeconfig of a server with the rights of `scope` that connects through this proxy.
    pub async fn manager_kubeconfig(&self, control_plane: &ControlPlane, scope: &Scope) -> Result<PathBuf> {
        control_plane.manager_kubeconfig_at(&self.url, scope).await
    }

    /// Injects no more faults from now on. Frozen requests stay frozen.
    pub fn heal(&self) {
        self.shared.is_healed.store(true, Ordering::SeqCst);
    }

    /// Waits for a request with [`Fault::CrashBefore`] or [`Fault::CrashAfter`], and returns its ordinal. The caller
    /// must then kill the server; the request blocks until it does.
    pub async fn crash(&mut self) -> u64 {
        self.crashes.recv().await.expect("the other end is in `shared`")
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl std::fmt::Debug for FaultProxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FaultProxy").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Shared {
    fn record(&self, ordinal: u64, note: Note) {
        (self.observer)(Entry { ordinal, note });
    }

    fn fault(&self, ordinal: u64, kind: Kind, path: &str) -> Option<Fault> {
        if self.is_healed.load(Ordering::SeqCst) { None } else { (self.plan)(ordinal, kind, path) }
    }
}

/// Accepts connections, and closes them when dropped.
async fn serve(listener: TcpListener, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // The client has already disconnected.
                let Ok((stream, _)) = accepted else { continue };
                connections.spawn(connection(stream, acceptor.clone(), Arc::clone(&shared)));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Serves one connection until either side closes it. Errors are ignored: faults cause them on purpose.
async fn connection(stream: TcpStream, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let service = service_fn(|request| Exchange::begin(Arc::clone(&shared), request));
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}
