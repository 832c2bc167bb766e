//! Opens a page in the user's browser.

use std::io;
use std::process::{Command, Stdio};

#[cfg(target_os = "macos")]
const OPEN: &[&str] = &["open"];
#[cfg(windows)]
const OPEN: &[&str] = &["rundll32", "url.dll,FileProtocolHandler"];
#[cfg(not(any(target_os = "macos", windows)))]
const OPEN: &[&str] = &["xdg-open"];

/// Starts the browser, and does not wait for it.
///
/// # Errors
/// The system's program for that cannot be started.
pub(super) fn open(url: &str) -> io::Result<()> {
    let (program, arguments) = OPEN.split_first().expect("a program");
    let mut command = Command::new(program);
    // Some browsers write to the terminal for as long as they run.
    command.args(arguments).arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn()?;
    std::thread::spawn(move || child.wait());
    Ok(())
}
