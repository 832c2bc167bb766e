//! The command line of the benchmarks.

use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Measures Replica Count Manager on a real API server, beside the limit that physics sets.
///
/// Starts etcd and kube-apiserver on loopback, without controllers and in a temporary folder, and the server as a
/// process of its own with the rights that the chart gives it. Prints a table, and writes everything behind it as JSON, and
/// the ratios as a picture, to harness/bench/results/.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true, after_help = HELP)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) measure: Measure,
}

const HELP: &str = "\
Benchmarks:
  drift   How long a drift lives: from the event that shows it to the event
          that shows its repair, both as they arrive at an independent watcher.
          One drift at a time; on a quiet cluster, and among 200 events a
          second that concern nobody. The limit is a bare loop that PATCHes at
          once what its watch shows. It, the server and the others run all the
          time, each with a namespace to itself, and each has a turn in each
          round. Each ratio has an interval, from a bootstrap of the rounds.
  fight   The same for 200 Deployments while somebody else changes the count of
          another one 50 times a second, beside what it is without that.
  mass    10,000 managed Deployments have drifted when the server starts:
          repairs a second, and how long an unrelated client waits for a GET
          meanwhile. The limit is the best rate of bare PATCHes, 1 to 64 of
          them at once; for the GETs, bare PATCHes as many at once as the
          server has.
  memory  Resident memory of the whole process beside 10,000 and 100,000
          Deployments of 5.9 kB, 200 of them managed, 10 seconds after they
          were read; and its peak, with an API server that restarts and has
          forgotten what was seen, so that all of them are read anew.
  start   From the start of the process to the repair of a drift that it finds:
          that of the Deployment that sorts last of 100,000. The limit is a
          process that reads them all and keeps nothing.
  idle    Time on a core with 10,000 Deployments, 200 of them managed, while
          nothing happens, and while the status of others changes 200 times a
          second. The limit is curl with the same watch.
  restart From SIGTERM to the first repair by the next process, with 10,000
          Deployments, 1,000 of them managed: of the one that sorts last. The
          limit is a process that starts, reads them all and keeps nothing.
  requests
          Gets, Lists of 500 and Sets that the server answers in a second of the
          time of a core, with 64 of them under way over 4 connections of mutual
          TLS. The limit is a server that always gives the same answers.
  sets    Sets on the disk of TMPDIR, with 100 and 10,000 settings. By one client:
          how long each takes; the limit is a loop that replaces a file of the same
          size and syncs it and its folder. By 64 clients: how many a second; the
          limit is what 64 such clients would get, or what they get from a file in
          memory, whatever is less.
  crd     Sets with --store=crd. By one client: how long each takes; the limit is a
          PUT of the same object on the same API server, in turns. By 64 clients:
          how many a second; the limit is the best rate of bare PUTs. And how long a
          drift lives; the limit is a server with the file, in turns.
  pods    How many pods a drift costs in each mode of the guard, with the real
          controllers.
  guard   What the guard costs others: PATCHes by a client of its own Deployment,
          beside guards of 1,000 and 5,000 counts and without one. The limit is an
          API server without policies; there are two, which change sides. And how
          long after a Set the guard is in force, as another client sees it, how
          long after a start all of 1,000 namespaces are guarded, and how long
          after a restart an API server guards nothing.
  tell    10,000 managed Deployments were changed by somebody when the server
          starts: repairs a second while it writes Events of Kubernetes and
          sends notifications. The limit is a server that tells nobody. And how
          many messages a receiver gets, and whether they count every drift.
  attempts
          Wrong counts of guarded Deployments that an independent watch shows: by
          1,000 attempts each in the ways of kubectl, with one API server, with
          two, and with a guard that denies where nothing corrects. Most are the
          HTTP requests that kubectl sends; kubectl itself takes longer and makes
          30 in each way, and each of Helm 3 and Helm 4 100 upgrades. A short run
          has neither, and fails if there is a wrong count.
  cli     kubectl replicas: 1,000 counts from a file by apply -f, and 100 of them by
          a loop of a shell over grpcurl; the time to the first byte of --help; and
          to get one workload, directly and over a network of 200 ms there and
          back, which shows how many round trips it takes.

With --baseline, the server of an earlier commit is measured beside the others,
in its own column. It is built once, from a clean clone and with its own
toolchain, and kept in ~/.cache/replica-count-manager/baseline. fight, sets, crd,
pods, guard, attempts, tell and cli have no baseline.

Examples:
  make bench                         everything, in at most 45 minutes
  make bench ONLY=drift BASELINE=origin/main
                                     is this checkout slower than that?
  make bench ONLY=drift ROUNDS=400   one of them, and less of it
  make bench SHORT=1                 seconds: shows that it runs, not how fast

A target that is missed is shown and is no error: the exit code is not 0 only
when a measurement failed. Use a quiet machine; the load before and after is
noted in the JSON.";

/// What to measure, and how thoroughly.
#[derive(Clone, Debug, Args)]
pub(crate) struct Measure {
    /// Run only this benchmark [default: all].
    #[arg(long, value_enum)]
    pub(crate) only: Option<Benchmark>,
    /// Rounds of `drift`, of both kinds [default: 2000], and of `fight` with and without it [default: 400]; upgrades by
    /// each Helm in `attempts` [default: 100].
    #[arg(long, value_name = "N")]
    pub(crate) rounds: Option<NonZeroUsize>,
    /// Measure the server of this commit too: any revision of git. It is built first, which takes minutes.
    #[arg(long, value_name = "COMMIT")]
    pub(crate) baseline: Option<String>,
    /// Use few rounds, few Deployments and an unoptimized baseline: shows that the benchmarks run, and nothing else.
    #[arg(long)]
    pub(crate) short: bool,
}

/// A benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Benchmark {
    /// How long a drift lives.
    Drift,
    /// The same while somebody fights.
    Fight,
    /// What a mass drift costs, and whom.
    Mass,
    /// How much memory the server takes.
    Memory,
    /// How long a start takes.
    Start,
    /// How much of a core it takes to do nothing.
    Idle,
    /// How long a restart leaves things alone.
    Restart,
    /// What requests cost the server.
    Requests,
    /// How fast Sets are durable.
    Sets,
    /// The same with ReplicaCounts as the store.
    Crd,
    /// How many pods a drift costs.
    Pods,
    /// What the guard costs others, and how soon it is in force.
    Guard,
    /// Whether anybody gets a wrong count past the guard.
    Attempts,
    /// What it costs to tell people.
    Tell,
    /// How fast the command line is.
    Cli,
}

impl Benchmark {
    /// Whether an earlier server can be measured beside ours.
    pub(crate) fn has_baseline(self) -> bool {
        match self {
            Self::Fight
            | Self::Sets
            | Self::Crd
            | Self::Pods
            | Self::Guard
            | Self::Attempts
            | Self::Tell
            | Self::Cli => false,
            Self::Drift
            | Self::Mass
            | Self::Memory
            | Self::Start
            | Self::Idle
            | Self::Restart
            | Self::Requests => true,
        }
    }

    /// What it is about, in a line.
    pub(crate) fn about(self) -> &'static str {
        match self {
            Self::Drift => "from drift to repair, as an independent watcher sees them",
            Self::Fight => "the repair of others while somebody fights",
            Self::Mass => "everything has drifted at once",
            Self::Memory => "resident memory beside many Deployments",
            Self::Start => "from the start to the repair of the last target",
            Self::Idle => "time on a core while nothing happens that matters",
            Self::Restart => "from SIGTERM to the first repair by the next process",
            Self::Requests => "requests answered in a second of the time of a core",
            Self::Sets => "durable Sets, beside what the disk can do",
            Self::Crd => "durable Sets with ReplicaCounts, beside bare writes of the same objects",
            Self::Pods => "pods that a drift costs, in each mode of the guard",
            Self::Guard => "what the guard costs others, and how soon it is in force",
            Self::Attempts => "wrong counts that somebody gets past the guard",
            Self::Cli => "kubectl replicas, beside a loop over grpcurl",
            Self::Tell => "what Events and notifications of a mass drift cost",
        }
    }
}

impl fmt::Display for Benchmark {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value().expect("no benchmark is hidden");
        formatter.write_str(value.get_name())
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// The bare loop, in a process of its own. Used by `drift`.
    #[command(hide = true)]
    BareLoop(BareLoop),
    /// The bare server, in a process of its own. Used by `requests`.
    #[command(hide = true)]
    BareServer(BareServer),
    /// Reads a listing to nowhere, in a process of its own. Used by `start` and `restart`.
    #[command(hide = true)]
    Drain(Drain),
    /// Bare PATCHes, in a process of its own. Used by `mass`.
    #[command(hide = true)]
    BarePatches(BarePatches),
}

/// What is read to nowhere, and from where.
#[derive(Debug, Args)]
pub(crate) struct Drain {
    /// How to reach the API server.
    #[arg(long)]
    pub(crate) kubeconfig: PathBuf,
    /// How it may write.
    #[arg(long)]
    pub(crate) accept: String,
}

/// What the bare loop holds, and where.
#[derive(Debug, Args)]
pub(crate) struct BareLoop {
    /// How to reach the API server.
    #[arg(long)]
    pub(crate) kubeconfig: PathBuf,
    /// Every Deployment of this namespace is held at the count.
    #[arg(long)]
    pub(crate) namespace: String,
    /// The count.
    #[arg(long)]
    pub(crate) replicas: i32,
}

/// What the bare server answers, and with which certificate.
#[derive(Debug, Args)]
pub(crate) struct BareServer {
    /// Its certificate.
    #[arg(long)]
    pub(crate) cert_file: PathBuf,
    /// The key of its certificate.
    #[arg(long)]
    pub(crate) key_file: PathBuf,
    /// The authority that signs clients.
    #[arg(long)]
    pub(crate) ca_cert_file: PathBuf,
    /// The folder with its answers.
    #[arg(long)]
    pub(crate) answers: PathBuf,
}

/// What the bare PATCHes change, and how many are under way at once.
#[derive(Debug, Args)]
pub(crate) struct BarePatches {
    /// How to reach the API server.
    #[arg(long)]
    pub(crate) kubeconfig: PathBuf,
    /// The namespace of the Deployments.
    #[arg(long)]
    pub(crate) namespace: String,
    /// How many of them are changed.
    #[arg(long)]
    pub(crate) count: usize,
    /// PATCHes under way at once.
    #[arg(long)]
    pub(crate) concurrency: usize,
    /// The count that they get.
    #[arg(long)]
    pub(crate) replicas: i32,
}
