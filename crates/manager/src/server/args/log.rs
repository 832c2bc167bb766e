//! The flags of the log.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueEnum};
use tracing::level_filters::LevelFilter;

/// What is logged.
#[derive(Debug, Args)]
#[command(next_help_heading = "Logging")]
pub struct LogArgs {
    /// error, warn, info, debug, trace or off; and levels of modules, as in info,kubernetes=debug,h2=trace
    #[arg(long, env, value_name = "LEVELS", default_value = "info")]
    pub log_level: LogLevel,
    /// File with levels that replace those of --log-level while the server runs, as long as there is one [default: none]
    #[arg(long, env, value_name = "FILE")]
    pub log_level_file: Option<PathBuf>,
    /// Form of a log line
    #[arg(long, env, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

/// Form of a log line.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum LogFormat {
    /// For people
    Text,
    /// For machines
    Json,
}

/// The crate of the server, as in the paths of its modules.
pub const SERVER: &str = "replica_count_manager";

/// Modules of the server that need no path.
const MODULES: [&str; 12] = [
    "cluster",
    "guards",
    "history",
    "kubernetes",
    "leadership",
    "net",
    "reconcile",
    "rpc",
    "server",
    "store",
    "traces",
    "work",
];

/// Which lines are logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLevel {
    /// The level of the server.
    pub server: LevelFilter,
    /// The levels of modules, by their paths; of several that fit, the longest counts.
    pub modules: Vec<(String, LevelFilter)>,
}

impl FromStr for LogLevel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (mut server, mut modules) = (None, Vec::new());
        for part in text.split(',').map(str::trim) {
            match part.split_once('=') {
                None if server.is_some() => return Err(format!("{part:?} is a second level for everything")),
                None => server = Some(level(part)?),
                Some((module, name)) => modules.push((path(module.trim())?, level(name.trim())?)),
            }
        }
        Ok(Self { server: server.unwrap_or(LevelFilter::INFO), modules })
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.server)?;
        self.modules.iter().try_for_each(|(module, level)| write!(formatter, ",{module}={level}"))
    }
}

fn level(text: &str) -> Result<LevelFilter, String> {
    match text {
        "error" => Ok(LevelFilter::ERROR),
        "warn" => Ok(LevelFilter::WARN),
        "info" => Ok(LevelFilter::INFO),
        "debug" => Ok(LevelFilter::DEBUG),
        "trace" => Ok(LevelFilter::TRACE),
        "off" => Ok(LevelFilter::OFF),
        _ => Err(format!("{text:?} is no level: use error, warn, info, debug, trace or off")),
    }
}

/// The path of a module, of the server or of a library.
fn path(module: &str) -> Result<String, String> {
    let is_word = |word: &str| {
        !word.is_empty() && word.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
    };
    if !module.split("::").all(is_word) {
        return Err(format!(
            "{module:?} is no module: use one of {}, or the path of another",
            MODULES.join(", ")
        ));
    }
    let first = module.split("::").next().unwrap_or_default();
    Ok(if MODULES.contains(&first) { format!("{SERVER}::{module}") } else { module.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_for_everything_or_for_a_module() {
        let check = |text: &str, expected: &str| {
            let level: Result<LogLevel, String> = text.parse();
            assert_eq!(level.map_or_else(|error| error, |level| level.to_string()), expected, "{text}");
        };
        check("info", "info");
        check("off", "off");
        check(
            "debug, kubernetes::watch=trace , h2=info",
            "debug,replica_count_manager::kubernetes::watch=trace,h2=info",
        );
        check("rpc=debug", "info,replica_count_manager::rpc=debug");
        check("replica_count_manager::rpc=debug,warn", "warn,replica_count_manager::rpc=debug");
        check("loud", "\"loud\" is no level: use error, warn, info, debug, trace or off");
        check("", "\"\" is no level: use error, warn, info, debug, trace or off");
        check("info,debug", "\"debug\" is a second level for everything");
        check("rpc=5", "\"5\" is no level: use error, warn, info, debug, trace or off");
        let error =
            format!("\"a b\" is no module: use one of {}, or the path of another", MODULES.join(", "));
        check("a b=info", &error);
    }

    #[test]
    fn the_modules_exist() {
        let source = include_str!("../../lib.rs");
        for module in MODULES {
            assert!(source.contains(&format!("mod {module};")), "{module}");
        }
    }
}
