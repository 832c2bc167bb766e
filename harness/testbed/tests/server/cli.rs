//! `kubectl replicas`: the real command, found by the real kubectl on the PATH, against the real server.

mod commands;
mod completion;
mod errors;
mod files;
mod handover;
mod terminal;
mod watching;

use std::ffi::OsStr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{env, fs};

use replica_count_testbed::workspace;

use crate::fixture::Fixture;

/// Renews the golden files instead of comparing with them.
const RENEW: &str = "RENEW_GOLDEN";

/// Somebody who uses kubectl, in a namespace of their own.
struct Cli<'a> {
    fixture: &'a Fixture<'a>,
    folder: PathBuf,
}

/// What a command has printed.
#[derive(Debug)]
struct Printed {
    status: i32,
    out: String,
    err: String,
}

impl From<Output> for Printed {
    fn from(output: Output) -> Self {
        let [out, err] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        Self { status: output.status.code().unwrap_or(-1), out, err }
    }
}

impl<'a> Cli<'a> {
    /// Has logged in.
    fn new(fixture: &'a Fixture<'a>) -> Self {
        let this = Self::stranger(fixture);
        this.login("client");
        this
    }

    /// Has kubectl and the plugin, but no certificate.
    fn stranger(fixture: &'a Fixture<'a>) -> Self {
        let folder = fixture.control_plane.folder("kubectl").unwrap();
        let programs = folder.join("bin");
        fs::create_dir(&programs).unwrap();
        let plugin = workspace::built_binary("kubectl-replicas", "replica-count-cli").unwrap();
        for name in ["kubectl-replicas", "kubectl_complete-replicas", "kubectl-create-replicacount"] {
            symlink(&plugin, programs.join(name)).unwrap();
        }
        symlink(fixture.control_plane.kubectl().unwrap(), programs.join("kubectl")).unwrap();
        let this = Self { fixture, folder };
        fs::copy(fixture.control_plane.admin_kubeconfig(), this.kubeconfig()).unwrap();
        let namespace = format!("--namespace={}", fixture.namespace);
        let chosen = this.command("kubectl", ["config", "set-context", "--current", &namespace]).output();
        assert!(chosen.unwrap().status.success());
        this
    }

    fn kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Remembers the address of the server and the certificate of a user.
    fn login(&self, user: &str) {
        let files = self.fixture.manager.certificates().files(user);
        let printed = self.run([
            OsStr::new("login"),
            OsStr::new("--server"),
            OsStr::new(&self.address()),
            OsStr::new("--ca"),
            files.authority.as_os_str(),
            OsStr::new("--cert"),
            files.certificate.as_os_str(),
            OsStr::new("--key"),
            files.key.as_os_str(),
        ]);
        assert_eq!(printed.status, 0, "{printed:?}");
    }

    fn address(&self) -> String {
        format!("localhost:{}", self.fixture.manager.grpc_address().port())
    }

    /// A program on this PATH, with nothing else in its environment.
    fn command<S: AsRef<OsStr>>(&self, program: &str, arguments: impl IntoIterator<Item = S>) -> Command {
        let programs = self.folder.join("bin");
        let mut command = Command::new(programs.join(program));
        command.args(arguments).current_dir(&self.folder).env_clear();
        command.env("PATH", &programs).env("HOME", &self.folder).env("KUBECONFIG", self.kubeconfig());
        command
    }

    /// `kubectl replicas …`
    fn plugin<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = self.command("kubectl", ["replicas"]);
        command.args(arguments);
        command
    }

    fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Printed {
        self.plugin(arguments).output().unwrap().into()
    }

    /// Runs a line of words. Expects success, and nothing on standard error.
    #[track_caller]
    fn ok(&self, line: &str) -> String {
        let printed = self.run(line.split_whitespace());
        assert_eq!((printed.status, &*printed.err), (0, ""), "{line}: {printed:?}");
        printed.out
    }

    /// Runs a line of words. Expects a failure, and nothing on standard output. Returns what it says.
    #[track_caller]
    fn fails(&self, line: &str, status: i32) -> String {
        let printed = self.run(line.split_whitespace());
        assert_eq!((printed.status, &*printed.out), (status, ""), "{line}: {printed:?}");
        printed.err
    }

    /// Runs a line of words. Expects the output of a golden file.
    #[track_caller]
    fn golden(&self, line: &str, file: &str) {
        self.compare(&self.ok(line), file);
    }

    /// Compares with a golden file, in which ages are `0s` and what differs each time has a name.
    #[track_caller]
    fn compare(&self, text: &str, file: &str) {
        let text = text
            .replace(&self.fixture.namespace, "NAMESPACE")
            .replace(&self.address(), "ADDRESS")
            .replace(&self.folder.display().to_string(), "FOLDER");
        let text = without_times(&text);
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/server/cli/golden").join(file);
        if env::var_os(RENEW).is_some() {
            fs::write(&path, &text).unwrap();
        }
        let expected = fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(text, expected, "{} (RENEW_GOLDEN=1 renews it)", path.display());
    }
}

/// Replaces ages of seconds by `0s`, and times by `TIME`.
fn without_times(text: &str) -> String {
    let is_age = |word: &str| {
        word.strip_suffix('s')
            .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let is_time = |word: &str| word.len() >= 20 && word.trim_matches('"').parse::<jiff::Timestamp>().is_ok();
    let lines = text.split_inclusive('\n').map(|line| {
        let words = line.split_inclusive([' ', '\n', ',']).map(|word| {
            let bare = word.trim_end_matches([' ', '\n', ',']);
            let rest = &word[bare.len()..];
            if is_age(bare) && bare.len() == 2 {
                format!("0s{rest}")
            } else if is_time(bare) {
                format!("TIME{rest}")
            } else {
                word.to_owned()
            }
        });
        words.collect::<String>()
    });
    lines.collect()
}
