//! Writes lines to the terminal. Failed writes are ignored, because a closed terminal is no reason to fail.

use std::io::{self, Write as _};

/// Writes a line of progress to stderr.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Writes the result to stdout.
pub(crate) fn print(text: &str) {
    let _ = writeln!(io::stdout().lock(), "{text}");
}
