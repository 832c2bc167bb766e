//! Writes to standard output and standard error.

use std::io::{self, Write as _};

use crate::failure::Failure;

/// Prints to standard output.
pub fn out(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    written.map_err(|error| Failure::new(format!("standard output is not writable: {error}")))
}

/// Prints a line to standard error. Nobody can be told if that fails.
pub fn note(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Says that a list is empty, as kubectl does. An empty namespace stands for all.
pub fn nothing(namespace: &str) -> Result<(), Failure> {
    note(&match namespace {
        "" => "No resources found".to_owned(),
        namespace => format!("No resources found in {namespace} namespace."),
    });
    Ok(())
}

/// Replaces the last line of the terminal.
pub fn overwrite(line: &str) {
    let _ = write!(io::stderr(), "\r\x1b[K{line}");
}
