//! Traces a running server with strace, and parses the trace.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::report_not_run;
use crate::fixture::{Fixture, eventually};

/// Calls that can change a file or send an answer. A question mark marks calls that not every machine has.
const TRACED: &str = "trace=openat,write,writev,sendto,sendmsg,fsync,fdatasync,?rename,?renameat,?renameat2";

/// A running strace. It is killed on drop.
pub(super) struct Strace {
    child: Child,
    output: PathBuf,
}

impl Strace {
    /// Traces the server of `fixture`. Reports and returns `None` if that is not possible.
    pub(super) async fn attach(fixture: &Fixture<'_>, arguments: &[&str]) -> Option<Self> {
        let folder = fixture.control_plane.folder("strace").unwrap();
        let (output, log) = (folder.join("trace"), folder.join("log"));
        let mut command = Command::new("strace");
        command.args(["--follow-forks", "-tt", "-yy", "-e", TRACED]).args(arguments).arg("-o").arg(&output);
        command.args(["-p", &fixture.manager.pid().to_string()]).stdin(Stdio::null()).stdout(Stdio::null());
        let child = match command.stderr(File::create(&log).unwrap()).spawn() {
            Ok(child) => child,
            Err(error) => {
                report(&format!("strace: {error}"));
                return None;
            }
        };
        let mut this = Self { child, output };
        let is_attached = eventually("strace is attached", async || {
            let text = fs::read_to_string(&log).unwrap();
            match this.child.try_wait().unwrap() {
                Some(status) => Ok(Err(format!("{status}: {text}"))),
                None if text.contains(" attached") => Ok(Ok(())),
                None => Err(text),
            }
        });
        is_attached.await.map_err(|reason| report(&reason)).ok()?;
        Some(this)
    }

    /// Detaches from the server, and returns the trace.
    pub(super) async fn detach(mut self) -> String {
        kill_process(Pid::from_child(&self.child), Signal::INT).unwrap();
        self.wait().await
    }

    /// Waits until the server has ended, and returns the trace.
    pub(super) async fn ended(mut self) -> String {
        self.wait().await
    }

    async fn wait(&mut self) -> String {
        eventually("strace ends", async || self.child.try_wait().unwrap().ok_or("it runs")).await;
        fs::read_to_string(&self.output).unwrap()
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        // Fails only if the process is already gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn report(reason: &str) {
    report_not_run("the order of the system calls of a Set, and a crash between them", reason);
}

/// A system call in a trace.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Call<'a> {
    pub(super) name: &'a str,
    /// The rest of its first line.
    pub(super) text: &'a str,
    /// The line where it begins.
    pub(super) begun: usize,
    /// The line where it ends.
    pub(super) ended: usize,
}

/// The calls in a trace. Each line has a thread, a time and an event.
pub(super) fn calls<'a>(trace: &'a str) -> Vec<Call<'a>> {
    let events: Vec<(&str, &'a str)> = trace
        .lines()
        .map(|line| {
            let (thread, rest) = line.split_once(' ').unwrap();
            (thread, rest.trim_start().split_once(' ').unwrap().1)
        })
        .collect();
    let numbered = events.iter().copied().enumerate();
    let calls = numbered.filter(|(_, (_, text))| text.starts_with(|first: char| first.is_ascii_lowercase()));
    let end = |begun: usize, thread: &str, text: &str| {
        let is_whole = !text.ends_with("<unfinished ...>") && !text.ends_with("<detached ...>");
        if is_whole {
            return begun;
        }
        let mut later = events[begun..].iter();
        let resumed = later.position(|&(other, text)| other == thread && text.starts_with("<... "));
        resumed.map_or(usize::MAX, |lines| begun + lines)
    };
    let call = |(begun, (thread, text)): (usize, (&str, &'a str))| {
        let name = text.split('(').next().unwrap_or_default();
        Call { name, text, begun, ended: end(begun, thread, text) }
    };
    calls.map(call).collect()
}

#[test]
fn a_call_lasts_until_its_own_thread_resumes_it() {
    let trace = "7 1:00 fsync(3</a> <unfinished ...>
8     1:01 fsync(4</b> <unfinished ...>
9     1:02 write(5</c>, \"fsync(\", 6) = 6
8     1:03 <... fsync resumed>) = 0 (DELAYED)
8     1:04 --- SIGCHLD {si_signo=SIGCHLD} ---
7     1:05 <... fsync resumed>) = 0
8     1:06 fsync(4</b> <detached ...>
9     1:07 rename(\"/a\", \"/b\" <unfinished ...>
9     1:08 +++ killed by SIGKILL +++";
    let found: Vec<_> = calls(trace).into_iter().map(|call| (call.name, call.begun, call.ended)).collect();
    let expected = [
        ("fsync", 0, 5),
        ("fsync", 1, 3),
        ("write", 2, 2),
        ("fsync", 6, usize::MAX),
        ("rename", 7, usize::MAX),
    ];
    assert_eq!(found, expected);
}
