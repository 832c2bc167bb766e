//! How the server is started.

use std::env;
use std::ffi::{OsStr, OsString};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::listening::Listening;
use super::{Certificates, NAME};
use crate::{parent_death, workspace};

/// The ports of the server where nobody chose others.
const GRPC_PORT: u16 = 8080;
const HTTP_PORT: u16 = 8081;

/// What a server under test sees of the environment. All of its flags can be set there, and a test must not depend on
/// what the person who runs it has exported.
const ENVIRONMENT: [&str; 4] = ["PATH", "HOME", "RUST_BACKTRACE", "LLVM_PROFILE_FILE"];

/// Where a server gets its ports, and where its log goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Any free loopback ports, the log in JSON to a file, nothing inherited from the environment.
    Test,
    /// The default ports on all addresses, the log in text to the terminal.
    Foreground,
}

/// How to start a [`Manager`](super::Manager). They can be used again for the next one.
#[derive(Clone, Debug)]
pub struct Options {
    testbed: PathBuf,
    /// What is started.
    program: PathBuf,
    /// Where the log goes, and the store and the certificates unless they are elsewhere.
    folder: PathBuf,
    certificates: PathBuf,
    mode: Mode,
    launcher: Vec<OsString>,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
}

impl Options {
    /// A server on free ports that keeps its store (`replicas.json`), its certificates and its log in `folder`.
    /// `testbed` is the path of this crate's binary, which ties the server to this process.
    pub fn new(testbed: PathBuf, kubeconfig: &Path, folder: &Path) -> Result<Self> {
        let this = Self {
            testbed,
            program: workspace::built_binary(NAME, NAME)?,
            folder: folder.to_owned(),
            certificates: folder.join("certificates"),
            mode: Mode::Test,
            launcher: Vec::new(),
            arguments: Vec::new(),
            environment: Vec::new(),
        };
        Ok(this.argument("--kubeconfig").argument(kubeconfig))
    }

    /// The same, with the `testbed` that cargo built beside the running program.
    pub fn beside_this_program(kubeconfig: &Path, folder: &Path) -> Result<Self> {
        Self::new(workspace::built_binary("testbed", "replica-count-testbed")?, kubeconfig, folder)
    }

    /// Starts another program that takes the same flags, logs where it listens as the server does, and serves the same.
    #[must_use]
    pub fn with_program(mut self, program: PathBuf) -> Self {
        self.program = program;
        self
    }

    /// Uses the default ports, and logs to the terminal.
    #[must_use]
    pub fn in_foreground(mut self) -> Self {
        self.mode = Mode::Foreground;
        self
    }

    /// Uses, or makes, the certificates in this folder.
    #[must_use]
    pub fn with_certificates(mut self, folder: PathBuf) -> Self {
        self.certificates = folder;
        self
    }

    /// Starts the server through another program: one that does what its arguments say, and then becomes the command
    /// line that follows them.
    #[must_use]
    pub fn through<S: AsRef<OsStr>>(mut self, launcher: impl IntoIterator<Item = S>) -> Self {
        self.launcher = launcher.into_iter().map(|word| word.as_ref().to_owned()).collect();
        self
    }

    /// Adds a flag or its value. A flag that the testbed would set itself is then left to the caller.
    #[must_use]
    pub fn argument(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub fn variable(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// The file of its store.
    pub fn store(&self) -> PathBuf {
        self.folder.join("replicas.json")
    }

    /// Its certificates, which are made if there are none.
    pub fn certificates(&self) -> Result<Certificates> {
        Certificates::ensure(self.certificates.clone())
    }

    /// The addresses of a server that does not choose its ports.
    pub(super) fn fixed_addresses(&self) -> Option<Listening> {
        let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        match self.mode {
            Mode::Test => None,
            Mode::Foreground => Some(Listening { grpc: loopback(GRPC_PORT), http: loopback(HTTP_PORT) }),
        }
    }

    /// A file that no earlier server logged to, or `None` for the terminal.
    pub(super) fn log_path(&self) -> Option<PathBuf> {
        let mut names = (1_u32..).map(|run| self.folder.join(format!("manager-{run}.log")));
        match self.mode {
            Mode::Test => names.find(|path| !path.exists()),
            Mode::Foreground => None,
        }
    }

    pub(super) fn command(&self) -> Result<Command> {
        let certificates = self.certificates()?;
        let mut command = match self.launcher.split_first() {
            None => parent_death::command(&self.testbed, &self.program),
            Some((launcher, arguments)) => {
                let mut command = parent_death::command(&self.testbed, Path::new(launcher));
                command.args(arguments).arg(&self.program);
                command
            }
        };
        let (grpc, http, format) = match self.mode {
            Mode::Test => ("127.0.0.1:0".to_owned(), "127.0.0.1:0".to_owned(), "json"),
            Mode::Foreground => (format!("[::]:{GRPC_PORT}"), format!("[::]:{HTTP_PORT}"), "text"),
        };
        if self.mode == Mode::Test {
            command.env_clear().envs(ENVIRONMENT.iter().filter_map(|name| Some((name, env::var_os(name)?))));
        }
        let defaults: [(&str, OsString); 7] = [
            ("--grpc-address", grpc.into()),
            ("--http-address", http.into()),
            ("--log-format", format.into()),
            ("--file-path", self.store().into()),
            ("--cert-file", certificates.certificate("server").into()),
            ("--key-file", certificates.key("server").into()),
            ("--ca-cert-file", certificates.authority().into()),
        ];
        for (flag, value) in defaults {
            if !self.arguments.iter().any(|argument| argument == flag) {
                command.arg(flag).arg(value);
            }
        }
        command.args(&self.arguments).envs(self.environment.iter().map(|(name, value)| (name, value)));
        Ok(command)
    }
}
