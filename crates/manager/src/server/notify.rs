//! The `notify` subcommand: shows what notifications look like, or sends one.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use jiff::Timestamp;
use replica_count_core::history::entry::Entry;
use replica_count_core::history::sample::sample;
use replica_count_core::notice::Notice;
use replica_count_core::notice::digest::Digest;
use replica_count_core::notice::filter::RouteFilter;
use replica_count_core::notice::firing::Firing;
use replica_count_core::words::{self, severity, usual_severity};

use crate::clock;
use crate::notify::config::{Config, ConfigError, Route};
use crate::notify::notifier::message_id;
use crate::notify::receiver::Attempt;

/// The namespace and the name of the workload of the example.
const EXAMPLE: (&str, &str) = ("shop", "web");
/// The id of a message that is not sent.
const NO_ID: &str = "msg_example";

/// Show what notifications look like, or send one
#[derive(Args, Debug)]
pub struct NotifyArgs {
    /// File of receivers and routes, YAML
    #[arg(long, env, value_name = "FILE")]
    notify_config: PathBuf,
    #[command(flatten)]
    action: Action,
}

/// What to do.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct Action {
    /// Print an example of each route's messages, and send nothing
    #[arg(long)]
    dry_run: bool,
    /// Send the example of this route, once
    #[arg(long, value_name = "ROUTE")]
    test: Option<String>,
}

/// Why the command failed. Each message is one line.
#[derive(Debug, thiserror::Error)]
pub enum NotifyError {
    /// The file cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// There is no such route.
    #[error("there is no route {route:?}; there are: {known}")]
    NoRoute {
        /// The name.
        route: String,
        /// Those that there are.
        known: String,
    },
    /// The receiver did not accept the message.
    #[error("not accepted: {0}")]
    NotAccepted(String),
    /// The runtime cannot start, or standard output is not writable.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl NotifyError {
    /// Whether the cause is a flag or a file that it names.
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Config(_) | Self::NoRoute { .. } => true,
            Self::NotAccepted(_) | Self::Io(_) => false,
        }
    }
}

impl NotifyArgs {
    /// Prints or sends messages.
    pub fn run(self) -> Result<(), NotifyError> {
        let (config, _) = Config::load(&self.notify_config)?;
        match self.action.test {
            None => Ok(io::stdout().write_all(print(&config).as_bytes())?),
            Some(name) => send(&config, &name),
        }
    }
}

/// The messages of all routes.
fn print(config: &Config) -> String {
    let mut text = String::new();
    for route in &config.routes {
        let receiver = &config.receivers[&route.receiver];
        let (service, host) = (receiver.service().as_str(), receiver.host());
        let _ = writeln!(text, "--- route {}, receiver {} ({service} at {host})", route.name, route.receiver);
        let digest = example(&route.filter, None);
        let notice = notice(config, route, &digest, NO_ID, Timestamp::UNIX_EPOCH);
        let bodies = receiver.service().render(&notice, &mut Firing::default());
        let _ = match bodies.first() {
            Some(body) => writeln!(text, "{body:#}"),
            None => writeln!(text, "nothing: what this route takes is no alert"),
        };
    }
    text
}

fn send(config: &Config, name: &str) -> Result<(), NotifyError> {
    let Some(route) = config.routes.iter().find(|route| route.name == name) else {
        let known = config.routes.iter().map(|route| &*route.name).collect::<Vec<_>>().join(", ");
        return Err(NotifyError::NoRoute { route: name.to_owned(), known });
    };
    let receiver = &config.receivers[&route.receiver];
    let (now, id) = (clock::now().wall, message_id());
    let digest = example(&route.filter, Some(now));
    let notice = notice(config, route, &digest, &id, now);
    let bodies = receiver.service().render(&notice, &mut Firing::default());
    let Some(body) = bodies.first() else {
        return Err(NotifyError::NotAccepted("what this route takes is no alert".to_owned()));
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match runtime.block_on(receiver.send(&id, body.to_string().as_bytes(), now)) {
        Attempt::Accepted => Ok(writeln!(io::stdout(), "{} has accepted {id}", receiver.host())?),
        Attempt::Retry { reason, .. } | Attempt::Failed { reason } => Err(NotifyError::NotAccepted(reason)),
    }
}

fn notice<'a>(
    config: &'a Config,
    route: &'a Route,
    digest: &'a Digest,
    id: &'a str,
    at: Timestamp,
) -> Notice<'a> {
    Notice { id, route: &route.name, filter: &route.filter, digest, links: &config.links, at }
}

/// What a route takes could have happened, now or some time.
fn example(filter: &RouteFilter, now: Option<Timestamp>) -> Digest {
    let mut digest = Digest::default();
    let mut whats = words::ALL;
    // What is serious comes last, so that nothing has ended it.
    whats.sort_by_key(|what| usual_severity(*what));
    for (id, what) in (1..).zip(whats) {
        let entry = sample(EXAMPLE.0, EXAMPLE.1, what);
        if filter.takes(what, severity(&entry)) {
            digest.add(&Arc::new(Entry { id, at: now.unwrap_or(entry.at), ..entry }));
        }
    }
    digest
}
