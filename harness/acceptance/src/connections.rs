//! The connections of the server's pods, as tracked by the node's kernel.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use kube::api::ListParams;
use kube::{Api, Client};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio::time;

use crate::fixture::NAME;
use crate::pods::LABELS;

/// How often the addresses of pods are looked up. Every pod lives longer.
const LOOKUP_INTERVAL: Duration = Duration::from_millis(200);

/// The direction of a connection, from the pod's view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Direction {
    In,
    Out,
}

/// Connections that a NetworkPolicy treats the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Flow {
    pub(crate) direction: Direction,
    /// In the notation of Kubernetes: TCP, UDP.
    pub(crate) protocol: String,
    /// The requested port.
    pub(crate) port: u16,
    /// The actual port. It differs if the address of a Service was translated.
    pub(crate) translated: u16,
}

/// The recorded connections of one run.
#[derive(Debug)]
pub(crate) struct Connections {
    log: PathBuf,
    /// All addresses of the server's pods so far.
    pods: Arc<Mutex<BTreeSet<String>>>,
    _lookup: JoinSet<()>,
    conntrack: Mutex<Child>,
    /// The file with conntrack's stderr.
    stderr: PathBuf,
}

impl Connections {
    /// Records connections from now on. Requires conntrack, and the network of the node.
    pub(crate) fn follow(kubernetes: &Client, folder: &Path) -> Result<Self> {
        let (log, stderr) = (folder.join("connections"), folder.join("connections.stderr"));
        let mut command = Command::new("conntrack");
        command.args(["--event", "--event-mask", "NEW", "--buffer-size", "8388608"]).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(File::create(&log)?).stderr(File::create(&stderr)?);
        let conntrack = Mutex::new(command.spawn().context("cannot run conntrack")?);
        let pods = Arc::new(Mutex::new(BTreeSet::new()));
        let mut lookup = JoinSet::new();
        lookup.spawn(look_up(kubernetes.clone(), Arc::clone(&pods)));
        Ok(Self { log, pods, _lookup: lookup, conntrack, stderr })
    }

    /// The flows recorded so far. Fails if the recording has ended early.
    pub(crate) fn flows(&self) -> Result<BTreeSet<Flow>> {
        if let Some(status) = self.conntrack.lock().unwrap_or_else(PoisonError::into_inner).try_wait()? {
            let stderr = fs::read_to_string(&self.stderr)?;
            bail!("conntrack has ended ({status}): {}", stderr.trim());
        }
        let pods = self.pods.lock().unwrap_or_else(PoisonError::into_inner).clone();
        ensure!(!pods.is_empty(), "no pod of the server was observed");
        let log = fs::read_to_string(&self.log)?;
        Ok(log.lines().filter_map(|line| parse(line, &pods)).collect())
    }
}

async fn look_up(kubernetes: Client, addresses: Arc<Mutex<BTreeSet<String>>>) {
    let pods = Api::<k8s_openapi::api::core::v1::Pod>::namespaced(kubernetes, NAME);
    loop {
        // On failure, the next round tries again.
        if let Ok(list) = pods.list(&ListParams::default().labels(LABELS)).await {
            let found = list.items.into_iter().filter_map(|pod| pod.status?.pod_ip);
            addresses.lock().unwrap_or_else(PoisonError::into_inner).extend(found);
        }
        time::sleep(LOOKUP_INTERVAL).await;
    }
}

/// Parses a line like `[NEW] tcp 6 120 SYN_SENT src=A dst=B sport=1 dport=2 [UNREPLIED] src=C dst=D sport=3 dport=4`:
/// first the original direction, then the expected reply.
fn parse(line: &str, pods: &BTreeSet<String>) -> Option<Flow> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let all = |key: &str| -> Vec<&str> {
        words.iter().filter_map(|word| word.strip_prefix(key)?.strip_prefix('=')).collect()
    };
    let protocol = *words.iter().find(|word| ["tcp", "udp", "sctp"].contains(word))?;
    let (source, ports) = (all("src"), all("dport"));
    let answering = all("sport");
    let direction = match (pods.contains(*source.first()?), pods.contains(*source.get(1)?)) {
        (true, _) => Direction::Out,
        (false, true) => Direction::In,
        (false, false) => return None,
    };
    Some(Flow {
        direction,
        protocol: protocol.to_uppercase(),
        port: ports.first()?.parse().ok()?,
        translated: answering.get(1)?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_of_pods_are_flows() {
        let pods = BTreeSet::from(["10.2.0.5".to_owned()]);
        let line = |rest: &str| format!("    [NEW] {rest}");
        let flow = |direction, protocol: &str, port, translated| {
            Some(Flow { direction, protocol: protocol.to_owned(), port, translated })
        };
        let cases = [
            (
                "tcp      6 120 SYN_SENT src=10.2.0.5 dst=10.0.0.1 sport=40000 dport=443 [UNREPLIED] \
                 src=10.1.0.1 dst=10.2.0.5 sport=6443 dport=40000",
                flow(Direction::Out, "TCP", 443, 6443),
            ),
            (
                "udp      17 30 src=10.2.0.5 dst=10.0.0.10 sport=40000 dport=53 [UNREPLIED] src=10.1.0.1 dst=10.2.0.5 \
                 sport=53 dport=40000",
                flow(Direction::Out, "UDP", 53, 53),
            ),
            (
                "tcp      6 120 SYN_SENT src=10.1.0.1 dst=10.0.0.7 sport=40000 dport=9000 [UNREPLIED] src=10.2.0.5 \
                 dst=10.1.0.1 sport=8080 dport=40000",
                flow(Direction::In, "TCP", 9000, 8080),
            ),
            (
                "tcp      6 120 SYN_SENT src=10.2.0.9 dst=10.0.0.1 sport=40000 dport=443 [UNREPLIED] src=10.1.0.1 \
                 dst=10.2.0.9 sport=6443 dport=40000",
                None,
            ),
            (
                "icmp     1 30 src=10.2.0.5 dst=10.1.0.1 type=8 code=0 id=1 [UNREPLIED] src=10.1.0.1 dst=10.2.0.5",
                None,
            ),
            ("tcp      6 120 SYN_SENT src=10.2.0.5", None),
        ];
        for (rest, expected) in cases {
            assert_eq!(parse(&line(rest), &pods), expected, "{rest}");
        }
    }
}
