//! The Lease of the servers that enforce one after the other, with times short enough to wait for.

use std::time::Duration;

use replica_count_testbed::manager::Options;

/// Its name.
pub(crate) const NAME: &str = "manager";
/// How long a crash may leave it held.
pub(crate) const DURATION: Duration = Duration::from_secs(3);

/// A holder that has not renewed it for so long ends its term soon, or has ended it.
pub(crate) const RENEWAL: Duration = Duration::from_millis(1_500);

/// A server that keeps its settings in ReplicaCounts, and enforces while it holds the Lease in this namespace.
pub(crate) fn used_by(options: Options, namespace: &str) -> Options {
    let lease = ["--store", "crd", "--lease-namespace", namespace, "--lease-name", NAME];
    let times = ["--lease-duration", "3s", "--lease-renew-deadline", "2s", "--lease-retry-period", "400ms"];
    lease.into_iter().chain(times).fold(options, Options::argument)
}
