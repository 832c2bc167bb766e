//! The command line of `faults`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};

/// Tries to make Replica Count Manager break its promises, with a real API server, faults, crashes and broken disks.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Play rounds that are drawn from a seed, and print what was tried.
    Run {
        /// Where all comes from [default: a new one, which is printed].
        #[arg(long)]
        seed: Option<u64>,
        /// For how long rounds are begun.
        #[arg(long, default_value = "3", value_parser = minutes)]
        minutes: Duration,
        /// Play the round of this trace again instead.
        #[arg(long, value_name = "TRACE", conflicts_with_all = ["seed", "minutes"])]
        replay: Option<PathBuf>,
    },
    /// Try every fault of every kind of request, and a crash at every request and every file operation.
    All {
        /// Only cases whose name contains this.
        #[arg(long, value_name = "TEXT")]
        only: Option<String>,
    },
    /// Show that each seeded bug is caught.
    Mutants {
        /// Only these [default: all].
        only: Vec<String>,
    },
}

fn minutes(text: &str) -> Result<Duration, String> {
    let minutes: f64 = text.parse().map_err(|_| format!("{text:?} is not a number"))?;
    Duration::try_from_secs_f64(minutes * 60.0).map_err(|error| error.to_string())
}
