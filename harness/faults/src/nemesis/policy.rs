//! An admission policy changes the counts that the server writes for a reserved workload, and goes.

use std::time::Duration;

use anyhow::Result;
use replica_count_testbed::{policy, webhook};
use tokio::sync::watch;
use tokio::time;

use super::RoundContext;
use crate::output::say_error;
use crate::retry::Verdict;
use crate::server::Access;
use crate::trace::Note;

/// How long it changes counts after the server has said so: longer than an oracle allows it to hide a wrong count.
const IN_FORCE: Duration = Duration::from_secs(12);
/// The API server may apply a policy a little longer.
const REMAINDER: Duration = Duration::from_secs(1);

pub(super) async fn change_counts(
    context: &RoundContext<'_>,
    server: &watch::Receiver<Access>,
) -> Result<Verdict> {
    let (control_plane, namespace) = (context.changes.control_plane(), context.namespace);
    let target = context.reserved_target();
    let condition = format!(
        "{} && request.name == '{}' && request.resource.resource == '{}'",
        webhook::OF_SERVER,
        target.name,
        target.kind.resource()
    );
    if !policy::create(control_plane, namespace, &condition).await? {
        say_error("*** NOT TESTED: a policy that changes counts, because this API server is too old. ***");
        return Ok(Ok(()));
    }
    context.trace.note(Note::PolicyChanges(target.to_string()));
    let shown = context.set_reserved_until_failure(server, "altered").await;
    time::sleep(IN_FORCE).await;
    policy::delete(control_plane, namespace).await?;
    time::sleep(REMAINDER).await;
    Ok(shown)
}
