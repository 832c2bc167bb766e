//! The file of receivers and routes, validated as a whole, with the files that it names.

mod build;
mod error;
mod file;
mod snapshot;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use replica_count_core::notice::filter::RouteFilter;
use replica_count_core::notice::link::Link;

pub use self::error::ConfigError;
pub use self::snapshot::Snapshot;
use super::receiver::Receiver;

/// The default of how long a message collects.
const WINDOW: Duration = Duration::from_secs(30);

/// Receivers and routes.
#[derive(Debug)]
pub struct Config {
    /// The receivers, by name.
    pub receivers: BTreeMap<String, Arc<Receiver>>,
    /// The routes.
    pub routes: Vec<Arc<Route>>,
    /// Where people can look.
    pub links: Vec<Link>,
}

/// What is sent where.
#[derive(Debug)]
pub struct Route {
    /// Its name.
    pub name: String,
    /// The name of its receiver, which exists.
    pub receiver: String,
    /// What it takes.
    pub filter: RouteFilter,
    /// How long a message collects.
    pub window: Duration,
}

impl Config {
    /// Reads the file and those that it names, and validates them. May block, as file systems may.
    pub fn load(path: &Path) -> Result<(Self, Snapshot), ConfigError> {
        let snapshot = Snapshot::take(path)?;
        Ok((build::config(&snapshot)?, snapshot))
    }

    /// Validates what was read.
    pub fn of(snapshot: &Snapshot) -> Result<Self, ConfigError> {
        build::config(snapshot)
    }
}

#[cfg(test)]
mod tests;
