//! Writes lines to the terminal. Failed writes are ignored, because a closed terminal is no reason to fail.

use std::io::{self, Write as _};

/// Writes a line to stdout, where results go.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stdout().lock(), "{line}");
}

/// Writes a line to stderr, where progress and errors go.
pub(crate) fn say_error(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}
