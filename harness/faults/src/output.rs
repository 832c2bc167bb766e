//! Writes lines to the terminal. Failed writes are ignored, because a closed terminal is no reason to fail.

use std::io::{self, Write as _};

/// Writes to stdout.
pub fn say(line: &str) {
    let _ = writeln!(io::stdout().lock(), "{line}");
}

/// Writes to stderr.
pub fn say_error(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}
