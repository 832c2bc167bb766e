//! Commands that are elsewhere now: whoever calls them here is told what to call instead.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt as _;

use clap::Args;

/// What a command that has moved was called with.
#[derive(Args, Debug)]
pub struct MovedArgs {
    /// Whatever the command takes now.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    arguments: Vec<OsString>,
}

impl MovedArgs {
    /// Says, in one line, which command of `kubectl-replicas` does what `command` did here. The line that is to be used
    /// instead can be pasted into a shell.
    pub fn refusal(&self, command: &str) -> String {
        let mut line = format!("kubectl-replicas {command}");
        for argument in &self.arguments {
            line.push(' ');
            line.push_str(&quoted(argument));
        }
        format!("`{command}` has moved to kubectl-replicas; use: {line}")
    }
}

/// The argument as a shell reads it: as it is, in quotes, or, where it is not plain text, as `$'…'`.
fn quoted(argument: &OsStr) -> String {
    let is_safe = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
    match argument.to_str() {
        Some(text) if !text.is_empty() && text.chars().all(is_safe) => text.to_owned(),
        Some(text) if !text.chars().any(char::is_control) => format!("'{}'", text.replace('\'', r"'\''")),
        _ => escaped(argument.as_bytes()),
    }
}

fn escaped(bytes: &[u8]) -> String {
    let mut text = "$'".to_owned();
    for byte in bytes {
        match byte {
            b' '..=b'~' if !matches!(byte, b'\'' | b'\\') => text.push(char::from(*byte)),
            // Three digits, so that a digit behind them is not one of them.
            _ => write!(text, r"\{byte:03o}").expect("a String takes everything"),
        }
    }
    text + "'"
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    #[command(disable_help_flag = true)]
    struct Cli {
        #[command(flatten)]
        moved: MovedArgs,
    }

    fn refusal(arguments: &[&OsStr]) -> String {
        let arguments = [OsStr::new("certs")].into_iter().chain(arguments.iter().copied());
        Cli::try_parse_from(arguments).unwrap().moved.refusal("certs")
    }

    #[track_caller]
    fn check(arguments: &[&str], expected: &str) {
        let arguments: Vec<_> = arguments.iter().map(OsStr::new).collect();
        let line = refusal(&arguments);
        assert_eq!(
            line,
            format!("`certs` has moved to kubectl-replicas; use: kubectl-replicas certs{expected}")
        );
    }

    #[test]
    fn the_same_arguments_are_named() {
        check(&[], "");
        check(&["client", "--name", "alice", "--group=ops"], " client --name alice --group=ops");
        check(&["--help"], " --help");
        check(&["-h", "help", "--no-such-flag"], " -h help --no-such-flag");
        check(&["--dir", "my certificates"], " --dir 'my certificates'");
        check(&["--dir", "", "--dir", "it's $HOME"], r" --dir '' --dir 'it'\''s $HOME'");
        check(&["--dir", "größer"], " --dir 'größer'");
        check(&["--dir", "a\nb'\\\u{9b}1"], r" --dir $'a\012b\047\134\302\2331'");
    }

    #[test]
    fn a_shell_reads_what_was_given() {
        let all_bytes: Vec<u8> = (1..=255).collect();
        let given = [
            OsStr::new("it's"),
            OsStr::new("$HOME `id` \"x\" ~ *"),
            OsStr::new(""),
            OsStr::from_bytes(&all_bytes),
        ];
        let line = refusal(&given);
        assert_eq!(line.lines().count(), 1);
        let (_, command) = line.split_once("use: kubectl-replicas certs ").unwrap();
        let output =
            Command::new("bash").args(["-c", &format!(r"printf '%s\0' {command}")]).output().unwrap();
        let read: Vec<_> = output.stdout.split(|byte| *byte == 0).collect();
        assert_eq!(read, [given[0].as_bytes(), given[1].as_bytes(), b"", given[3].as_bytes(), b""]);
    }
}
