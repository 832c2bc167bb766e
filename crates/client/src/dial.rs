//! Streams to a server by other means than TCP, such as a port-forward.

use std::error::Error;
use std::fmt::Debug;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::transport::Uri;
use tower::Service;

/// Why there is no stream.
pub type DialError = Box<dyn Error + Send + Sync>;

/// A stream of bytes to a server, which carries TLS.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Opens streams to one server, or to any of its replicas.
pub trait Dial: Debug + Send + Sync {
    /// Opens a new stream. It is called again after a stream has ended.
    fn dial(self: Arc<Self>) -> BoxFuture<'static, Result<Box<dyn Stream>, DialError>>;
}

/// Connects by dialling, whatever the address.
#[derive(Clone, Debug)]
pub(crate) struct Dialler(pub(crate) Arc<dyn Dial>);

impl Service<Uri> for Dialler {
    type Response = TokioIo<Box<dyn Stream>>;
    type Error = DialError;
    type Future = BoxFuture<'static, Result<Self::Response, DialError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let dialled = Arc::clone(&self.0).dial();
        Box::pin(async move { Ok(TokioIo::new(dialled.await?)) })
    }
}
