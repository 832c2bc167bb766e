//! Lines for the person at the terminal. A closed terminal is no reason to fail, so failed writes are ignored.

use std::io::{self, Write as _};

/// Writes a line to stdout, where results go.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stdout().lock(), "{line}");
}

/// Writes a line to stderr, where progress and errors go.
pub(crate) fn say_error(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}
