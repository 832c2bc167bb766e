//! All that clusters do to a server, at once and again and again. Its use of resources must not grow.

use std::time::Duration;

use anyhow::Result;
use tokio::sync::watch;
use tokio::time::{self, Instant};

use super::{Nemesis, RoundContext};
use crate::output::say;
use crate::resources::Resources;
use crate::retry::Verdict;
use crate::server::Access;

/// How often resources are measured.
const PERIOD: Duration = Duration::from_millis(500);
/// Into how many parts the time is divided, each with a line: a minute of the usual ten.
const PARTS: u32 = 10;
/// Growth is compared with the first parts, in which everything happens at least once.
const FIRST: u32 = 2;

/// What others do to the connection, in turns.
const OF_CONNECTION: [Nemesis; 3] = [Nemesis::Credentials, Nemesis::UnknownHost, Nemesis::Plugin];
/// What others do to writes, in turns.
const OF_WRITES: [Nemesis; 2] = [Nemesis::Admission, Nemesis::Policy];

pub(super) async fn run(
    duration: Duration,
    context: &RoundContext<'_>,
    server: &watch::Receiver<Access>,
) -> Result<Verdict> {
    let end = Instant::now() + duration;
    let (connection, writes, measured) = tokio::join!(
        in_turns(&OF_CONNECTION, end, context, server),
        in_turns(&OF_WRITES, end, context, server),
        measure(duration / PARTS, server),
    );
    Ok(connection?.and(writes?).and(measured))
}

/// Runs each at least once, until the end or the first that fails.
async fn in_turns(
    nemeses: &[Nemesis],
    end: Instant,
    context: &RoundContext<'_>,
    server: &watch::Receiver<Access>,
) -> Result<Verdict> {
    for (n, nemesis) in nemeses.iter().cycle().enumerate() {
        if n >= nemeses.len() && Instant::now() >= end {
            break;
        }
        if let Err(failed) = Box::pin(nemesis.run(context, server)).await? {
            return Ok(Err(failed));
        }
    }
    Ok(Ok(()))
}

/// Prints and compares what the server uses.
async fn measure(part: Duration, server: &watch::Receiver<Access>) -> Verdict {
    let pid = server.borrow().pid;
    let mut verdict = Ok(());
    let mut first = Resources::default();
    say("      at  processes  threads  descriptors      MiB");
    for n in 1..=PARTS {
        let end = Instant::now() + part;
        let mut most = Resources::default();
        while Instant::now() < end {
            time::sleep(PERIOD).await;
            let used = Resources::read(pid);
            most = most.max(used.map_err(|error| format!("the server cannot be measured: {error:#}"))?);
        }
        let Resources { processes, threads, descriptors, mebibytes } = most;
        let at = (part * n).as_secs();
        say(&format!("{at:>6} s  {processes:>9}  {threads:>7}  {descriptors:>11}  {mebibytes:>7.1}"));
        if n <= FIRST {
            first = first.max(most);
        } else if let Some(growth) = most.growth(first) {
            verdict = verdict.and(Err(growth));
        }
    }
    verdict
}
