//! One request and its whole answer.

use http::Request;
use http::response::Parts;
use kube::Client;
use kube::client::Body;

/// Sends a request and returns the whole answer, whatever its status. (kube's own method drops the headers of errors.)
pub(super) async fn exchange(client: &Client, request: Request<Vec<u8>>) -> kube::Result<(Parts, Vec<u8>)> {
    let (head, body) = client.send(request.map(Body::from)).await?.into_parts();
    Ok((head, body.collect_bytes().await?.into()))
}
