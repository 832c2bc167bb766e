//! A proxy between the server and its API server that does what networks and API servers do on their worst days.
//!
//! It ends the server's TLS with a certificate of the control plane's authority and passes its requests, tokens included,
//! on to the real API server. It speaks HTTP/1.1, as the server's client does. Each request gets an ordinal, and a
//! *plan* says by ordinal and kind which [`Fault`] it meets, so the same plan makes the same trouble again. All that
//! happens is told as [`Entry`]s, from which a run can be read afterwards.
//!
//! Nothing is made up but what the names of the faults say: the rest comes from a real API server. A stale listing is an
//! older answer of that server, given once more, as a server behind the others would. Events are understood in JSON and in
//! protobuf, whichever the API server answers in.

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
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use crate::ControlPlane;
use crate::control_plane::Scope;

/// Which fault a request meets, by its ordinal (from 0 on), kind and path.
pub type Plan = Box<dyn Fn(u64, Kind, &str) -> Option<Fault> + Send + Sync>;

/// Who is told what happens.
pub type Observer = Box<dyn Fn(Entry) + Send + Sync>;

/// In which encodings the server may be answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encodings {
    /// In any that it asks for.
    #[default]
    AsAsked,
    /// In JSON, whatever else it asks for: as by an API server that knows no other.
    JsonOnly,
}

impl Encodings {
    /// The words for it in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::AsAsked => "as asked",
            Self::JsonOnly => "in JSON only",
        }
    }
}

/// A running proxy. It ends, with all its connections, on drop.
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
    /// Starts a proxy before the API server of `control_plane`, on a free port.
    pub async fn start(
        control_plane: &ControlPlane,
        encodings: Encodings,
        plan: Plan,
        observer: Observer,
    ) -> Result<Self> {
        let acceptor = acceptor(control_plane)?;
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

    /// The kubeconfig of a server with the rights of `scope` that reaches its API server through this proxy.
    pub async fn manager_kubeconfig(&self, control_plane: &ControlPlane, scope: &Scope) -> Result<PathBuf> {
        control_plane.manager_kubeconfig_at(&self.url, scope).await
    }

    /// From now on no request meets a fault. What is frozen stays so.
    pub fn heal(&self) {
        self.shared.is_healed.store(true, Ordering::SeqCst);
    }

    /// Waits until a request meets [`Fault::CrashBefore`] or [`Fault::CrashAfter`], and returns its ordinal: the caller
    /// is to kill the server now. The request waits until then.
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
    fn tell(&self, ordinal: u64, note: Note) {
        (self.observer)(Entry { ordinal, note });
    }

    fn fault(&self, ordinal: u64, kind: Kind, path: &str) -> Option<Fault> {
        if self.is_healed.load(Ordering::SeqCst) { None } else { (self.plan)(ordinal, kind, path) }
    }
}

/// Accepts connections, and owns them until it is dropped.
async fn serve(listener: TcpListener, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // A client that went away again is no matter.
                let Ok((stream, _)) = accepted else { continue };
                connections.spawn(connection(stream, acceptor.clone(), Arc::clone(&shared)));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Serves one connection until one of the two ends closes it. How it ended is of no interest: it often is on purpose.
async fn connection(stream: TcpStream, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let service = service_fn(|request| Exchange::begin(Arc::clone(&shared), request));
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

fn acceptor(control_plane: &ControlPlane) -> Result<TlsAcceptor> {
    let files = control_plane.server_certificate("fault-proxy", Ipv4Addr::LOCALHOST)?;
    let certificate = CertificateDer::from_pem_file(&files.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&files.key)?;
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
