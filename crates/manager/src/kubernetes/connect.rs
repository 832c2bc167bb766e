//! Creates the client of the API server.
//!
//! Each call has its own deadline, and each watch a limit for silence: see `reads`, `scale` and `watch`. The queue
//! retries failed calls, because it knows whether they are still needed. The client never does.

use kube::Client;

use super::access::Unusable;
use super::renewal::Renewal;
use super::source::Opened;

/// The namespace of requests that name none; there are none.
const NO_NAMESPACE: &str = "default";

/// Creates a client, and the task that renews its credentials. Does not connect, and runs no plugin.
pub fn connect(opened: Opened) -> Result<(Client, Renewal), Unusable> {
    let (renewal, connection) = Renewal::start(opened)?;
    Ok((Client::new(connection, NO_NAMESPACE), renewal))
}
