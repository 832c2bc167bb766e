//! The command line of `faults`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};

/// Tests the promises of Replica Count Manager with a real API server, injected faults, crashes and disk failures.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run random rounds from a seed, and print what was tested.
    Run {
        /// The seed of all random choices [default: a new one, which is printed].
        #[arg(long)]
        seed: Option<u64>,
        /// How long to start new rounds.
        #[arg(long, default_value = "3", value_parser = minutes)]
        minutes: Duration,
        /// Replay the round of this trace instead.
        #[arg(long, value_name = "TRACE", conflicts_with_all = ["seed", "minutes"])]
        replay: Option<PathBuf>,
    },
    /// Disturb one server for a while as clusters do, and print what it uses.
    Soak {
        /// The seed of all random choices [default: a new one, which is printed].
        #[arg(long)]
        seed: Option<u64>,
        /// How long.
        #[arg(long, default_value = "10", value_parser = minutes)]
        minutes: Duration,
    },
    /// Test every fault of every kind of request, and a crash at every request and every file operation.
    All {
        /// Run only cases whose name contains this text.
        #[arg(long, value_name = "TEXT")]
        only: Option<String>,
    },
    /// Let the server that holds the Lease end, crash, stand still and be cut off, and print how long it takes until another one
    /// repairs, and whether a late write changed a count.
    Handover {
        /// How often each.
        #[arg(long, default_value = "50")]
        rounds: usize,
    },
    /// Verify that each seeded bug is caught.
    Mutants {
        /// Test only these mutants [default: all].
        only: Vec<String>,
    },
}

fn minutes(text: &str) -> Result<Duration, String> {
    let minutes: f64 = text.parse().map_err(|_| format!("{text:?} is not a number"))?;
    Duration::try_from_secs_f64(minutes * 60.0).map_err(|error| error.to_string())
}
