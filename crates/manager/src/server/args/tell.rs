//! The flags of what others are told.

use std::path::PathBuf;

use clap::{ArgAction, Args};

/// What others are told.
#[derive(Debug, Args)]
#[command(next_help_heading = "Telling people")]
pub struct TellArgs {
    /// Whether what happens is told by Events of Kubernetes, which `kubectl describe` shows
    #[arg(long, env, value_name = "true|false", action = ArgAction::Set, default_value_t = true)]
    pub kubernetes_events: bool,
    /// File of receivers and routes of notifications, YAML [default: none are sent]
    #[arg(long, env, value_name = "FILE")]
    pub notify_config: Option<PathBuf>,
}
