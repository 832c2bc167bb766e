//! The flag `--dry-run`, as kubectl has it.

use clap::{Args, ValueEnum};

/// Where a change ends that is only tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum DryRun {
    /// It is made.
    #[default]
    None,
    /// It is shown, and not sent.
    Client,
    /// The server checks everything, and stores nothing.
    Server,
}

/// Whether changes are only tried.
#[derive(Args, Clone, Copy, Debug)]
pub struct DryRunArgs {
    /// Change nothing: client only shows, server also lets the server check everything
    #[arg(long, value_name = "WHERE", num_args = 0..=1, require_equals = true, default_value = "none",
        default_missing_value = "server", hide_default_value = true, hide_possible_values = true)]
    pub dry_run: DryRun,
}

impl DryRun {
    /// What is added to the line of a change.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Client => " (dry run)",
            Self::Server => " (server dry run)",
        }
    }
}
