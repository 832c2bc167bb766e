//! Runs a program for a while, and ends it together with everything that it has started.

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, kill_process_group, waitpgid};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;
use tokio::time::timeout;

/// The longest output that is read, in bytes.
pub(super) const LONGEST_OUTPUT: usize = 1 << 20;
/// How much of the end of standard error is kept, in bytes.
const KEPT_ERRORS: usize = 4 << 10;
/// How long the output may stay open after the program has ended: something else may still hold it.
const REMAINDER: Duration = Duration::from_secs(1);

/// Why a program gave no output.
#[derive(Debug)]
pub(super) enum Failure {
    NotStarted(io::Error),
    /// It ended without success. `said`: the last line of standard error.
    Ended {
        how: How,
        said: String,
    },
    TooLong,
    TimedOut {
        said: String,
    },
}

/// How a program ended.
#[derive(Debug)]
pub(super) struct How(ExitStatus);

impl std::fmt::Display for How {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.0.code(), self.0.signal()) {
            (Some(code), _) => write!(formatter, "exit status {code}"),
            (None, Some(signal)) => write!(formatter, "killed by signal {signal}"),
            (None, None) => write!(formatter, "{}", self.0),
        }
    }
}

/// The process group of a program. Dropping it kills all that is left of the group.
///
/// A group that has ended is not killed by mistake: its number is in use as long as one of its processes is, and the
/// kernel takes the next free number, not the last one.
struct Group(Pid);

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Group {
    fn kill(&self) {
        // Fails if nothing is left.
        let _ = kill_process_group(self.0, Signal::KILL);
    }

    /// Kills what is left. As the first process of a container, this one inherits the orphans, and must reap them.
    async fn reap_orphans(&self) {
        self.kill();
        for pause in [1, 5, 20, 100].map(Duration::from_millis) {
            while matches!(waitpgid(self.0, WaitOptions::NOHANG), Ok(Some(_))) {}
            // Anything but "no more children": some are still ending.
            if waitpgid(self.0, WaitOptions::NOHANG).is_err() {
                return;
            }
            tokio::time::sleep(pause).await;
        }
    }
}

/// Runs a program, without a terminal or input, and returns what it printed. If this is dropped, the program and what
/// it has started are killed.
pub(super) async fn run(mut command: Command, deadline: Duration) -> Result<Vec<u8>, Failure> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn().map_err(Failure::NotStarted)?;
    let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    let group = Group(id.ok_or_else(|| Failure::NotStarted(io::Error::other("it has no process id")))?);
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let ended = {
        let reading = async {
            tokio::join!(read_output(stdout, &mut output), read_errors(stderr, &mut errors));
        };
        let running = async {
            tokio::pin!(reading);
            // The output may be closed before the program ends, and be held open for longer.
            tokio::select! {
                () = &mut reading => child.wait().await,
                status = child.wait() => {
                    group.reap_orphans().await;
                    let _ = timeout(REMAINDER, reading).await;
                    status
                }
            }
        };
        timeout(deadline, running).await
    };
    let said = last_line(&errors);
    match ended {
        Err(_elapsed) => {
            group.kill();
            // It has been killed, so this is a moment.
            let _ = timeout(REMAINDER, child.wait()).await;
            group.reap_orphans().await;
            Err(Failure::TimedOut { said })
        }
        Ok(Err(error)) => Err(Failure::NotStarted(error)),
        Ok(Ok(status)) => {
            group.reap_orphans().await;
            if output.len() > LONGEST_OUTPUT {
                Err(Failure::TooLong)
            } else if status.success() {
                Ok(output)
            } else {
                Err(Failure::Ended { how: How(status), said })
            }
        }
    }
}

/// Reads up to the limit and one byte more, then closes the pipe.
async fn read_output(stdout: Option<impl AsyncRead + Unpin>, output: &mut Vec<u8>) {
    if let Some(stdout) = stdout {
        // What was read before an error counts.
        let _ = stdout.take(LONGEST_OUTPUT as u64 + 1).read_to_end(output).await;
    }
}

/// Reads everything, and keeps the end.
async fn read_errors(stderr: Option<impl AsyncRead + Unpin>, errors: &mut Vec<u8>) {
    let Some(mut stderr) = stderr else { return };
    let mut buffer = [0; 1024];
    while let Ok(read @ 1..) = stderr.read(&mut buffer).await {
        errors.extend_from_slice(&buffer[..read]);
        let surplus = errors.len().saturating_sub(KEPT_ERRORS);
        errors.drain(..surplus);
    }
}

fn last_line(errors: &[u8]) -> String {
    let text = String::from_utf8_lossy(errors);
    text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default().to_owned()
}
