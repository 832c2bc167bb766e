//! The flags of the store.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use replica_count_core::setting::Certainty;

/// Where settings are kept.
#[derive(Debug, Args)]
#[command(next_help_heading = "Store")]
pub struct StoreArgs {
    /// Where settings are kept
    #[arg(long, env, value_enum, default_value_t = StoreArg::File)]
    pub store: StoreArg,
    /// File of the desired counts, a JSON array; created if it does not exist
    #[arg(long, env, value_name = "FILE", default_value = "/mnt/replicas.json")]
    pub file_path: PathBuf,
    /// With ReplicaCounts: which policy of the API server keeps others from writing who set a count
    #[arg(long, env, value_enum, default_value_t = AuthorPolicy::None)]
    pub author_policy: AuthorPolicy,
}

/// Where settings are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StoreArg {
    /// In the file of --file-path
    File,
    /// As ReplicaCounts, objects of the API server
    Crd,
}

/// What keeps others from writing who set a count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AuthorPolicy {
    /// Nothing: what is written there is a claim
    None,
    /// A policy that refuses it
    Forbid,
    /// A policy that writes the user of Kubernetes there
    Stamp,
}

impl StoreArgs {
    /// How sure it is who has set a count.
    pub(super) fn authors(&self) -> Certainty {
        match self.author_policy {
            AuthorPolicy::None => Certainty::Claimed,
            AuthorPolicy::Forbid | AuthorPolicy::Stamp => Certainty::Proven,
        }
    }

    /// Whether settings are objects with a status.
    pub fn has_statuses(&self) -> bool {
        self.store == StoreArg::Crd
    }
}
