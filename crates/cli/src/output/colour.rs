//! Colours, on terminals only.

use std::env;
use std::io::{self, IsTerminal as _};

const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";
const PLAIN: &str = "\x1b[0m";

/// Whether standard output shows colours, and nobody has asked for none (`NO_COLOR`).
pub(super) fn is_wanted() -> bool {
    let is_set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
    io::stdout().is_terminal() && !is_set("NO_COLOR") && !is_dumb
}

/// A state or an event in its colour.
pub(super) fn paint(word: &str) -> String {
    let colour = match word {
        "Drifted" | "Contested" | "Missing" | "Unsupported" | "drifted" | "contested" | "missing"
        | "write-failed" | "steady-conflict" | "another-server" => RED,
        "Ignored" | "Autoscaled" | "OutOfScope" | "Unknown" | "ignored" | "autoscaled" => YELLOW,
        "InSync" | "repaired" | "resolved" | "calmed" => GREEN,
        _ => return word.to_owned(),
    };
    format!("{colour}{word}{PLAIN}")
}
