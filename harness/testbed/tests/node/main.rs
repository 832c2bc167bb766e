//! Tests a real node, if this machine can run one: what works on it, and that it leaves nothing behind.
//!
//! `make test` skips these, because building a kubelet takes minutes. `make test-node` runs them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use replica_count_testbed::node::requirements;
use rustix::process::{Pid, Signal, kill_process};

/// Longer than the grace periods of a node and its command.
const DEADLINE: Duration = Duration::from_mins(1);

#[test]
fn on_a_node_pods_run_and_reach_each_other_and_their_volumes() {
    let Some(testbed) = testbed() else { return };
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/node");
    let output =
        node(&testbed).arg(tests.join("story.sh")).arg(tests.join("workload.yaml")).output().unwrap();
    let (stdout, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let (first, rest) = stdout.split_once('\n').unwrap_or_else(|| panic!("{log}"));
    let expected = "wrote 65532
pod: hello
address: hello
name: hello
exec: hello
claim: Bound standard
volume: gone
";
    assert_eq!(rest, expected, "{log}");
    assert_eq!(output.status.code(), Some(7), "{log}");
    assert_eq!(leftovers(&folder(first)), [""; 0]);
}

#[test]
fn on_a_node_a_termination_lets_the_command_end() {
    let Some(mut node) = RunningNode::start() else { return };
    kill_process(Pid::from_child(&node.testbed), Signal::TERM).unwrap();
    let status = node.testbed.wait().unwrap();
    assert_eq!(status.code(), Some(9), "the trap of the command sets it");
    assert_eq!(leftovers(&node.folder), [""; 0]);
}

#[test]
fn on_a_node_nothing_outlives_a_kill() {
    let Some(mut node) = RunningNode::start() else { return };
    node.testbed.kill().unwrap();
    node.testbed.wait().unwrap();
    let deadline = Instant::now() + DEADLINE;
    while !leftovers(&node.folder).is_empty() {
        assert!(Instant::now() < deadline, "left over: {:?}", leftovers(&node.folder));
        thread::park_timeout(Duration::from_millis(20));
    }
}

/// A node with a pod and a long-running command.
struct RunningNode {
    testbed: Child,
    folder: PathBuf,
}

impl RunningNode {
    const COMMAND: &str = "
        trap 'exit 9' TERM
        kubectl run sleeper --image localhost/busybox:1 --command -- sleep 1000 >/dev/null
        kubectl wait --for condition=Ready pod/sleeper >/dev/null && echo \"kubeconfig: $KUBECONFIG\"
        while :; do sleep 1; done";

    fn start() -> Option<Self> {
        let mut command = node(&testbed()?);
        let mut testbed = command.args(["sh", "-c", Self::COMMAND]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(testbed.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let folder = folder(line.trim_end());
        assert_ne!(leftovers(&folder), [""; 0], "a running node has resources on the host");
        Some(Self { testbed, folder })
    }
}

/// The path of the testbed. Reports and returns `None` if this machine cannot run a node.
fn testbed() -> Option<PathBuf> {
    match requirements::check() {
        Ok(()) => Some(PathBuf::from(env!("CARGO_BIN_EXE_testbed"))),
        Err(reason) => {
            report_not_run("pods, Services and volumes on a real node", &reason.to_string());
            None
        }
    }
}

/// A command that runs the arguments added to it on a node, with kubectl on PATH.
fn node(testbed: &Path) -> Command {
    let kubectl = Command::new(testbed).args(["build", "--what", "kubectl"]).output().unwrap();
    let kubectl = PathBuf::from(String::from_utf8(kubectl.stdout).unwrap().trim_end());
    let mut command = Command::new(testbed);
    command.args(["node", "--"]).stdin(Stdio::null());
    command.env("PATH", format!("{}:{}", kubectl.parent().unwrap().display(), env::var("PATH").unwrap()));
    command
}

/// The folder of a node, from the output line with its kubeconfig.
fn folder(line: &str) -> PathBuf {
    let kubeconfig = Path::new(line.strip_prefix("kubeconfig: ").unwrap());
    kubeconfig.ancestors().nth(3).unwrap().to_owned()
}

/// The leftovers of a node on this machine: folder, lock, processes, cgroups and mounts.
fn leftovers(folder: &Path) -> Vec<String> {
    let name = folder.file_name().unwrap().to_str().unwrap();
    let names = |path: &Path| {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        entries
            .map(|entry| entry.path())
            .filter(|path| path.to_string_lossy().contains(name))
            .collect::<Vec<_>>()
    };
    let mut left = names(folder.parent().unwrap());
    let hierarchies = fs::read_dir("/sys/fs/cgroup").unwrap().flatten().map(|entry| entry.path());
    left.extend(hierarchies.flat_map(|hierarchy| names(&hierarchy)));
    left.extend(names(Path::new("/sys/fs/cgroup")));
    let processes = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    // The command lines of pods do not contain the name, but their mounts do.
    left.extend(processes.filter(|process| {
        let read = |file: &str| fs::read(process.join(file)).unwrap_or_default();
        let is_named = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).contains(name);
        is_named(read("cmdline")) || is_named(read("mounts"))
    }));
    left.into_iter().map(|path| path.display().to_string()).collect()
}

/// Reports what could not be tested on this machine.
#[expect(clippy::explicit_write, reason = "the test harness hides what a passing test prints by a macro")]
fn report_not_run(what: &str, why: &str) {
    let banner = "*".repeat(80);
    writeln!(io::stderr(), "\n{banner}\n*** NOT TESTED: {what}\n*** {why}\n{banner}").unwrap();
}
