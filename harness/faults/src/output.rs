//! Lines for the person at the terminal. A closed terminal is no reason to fail, so failed writes are ignored.

use std::io::{self, Write as _};

/// Writes to stdout.
pub fn say(line: &str) {
    let _ = writeln!(io::stdout().lock(), "{line}");
}

/// Writes to stderr.
pub fn say_error(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}
