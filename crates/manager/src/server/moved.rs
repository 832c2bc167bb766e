//! Commands that have moved to another program: the error names the command to use instead.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt as _;

use clap::Args;

/// The arguments of a command that has moved.
#[derive(Args, Debug)]
pub struct MovedArgs {
    /// Passed on unparsed.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    arguments: Vec<OsString>,
}

impl MovedArgs {
    /// One line that names the command of `kubectl-replicas` to use instead of `command`, ready to be pasted into a
    /// shell.
    pub fn refusal(&self, command: &str) -> String {
        let mut line = format!("kubectl-replicas {command}");
        for argument in &self.arguments {
            line.push(' ');
            line.push_str(&quoted(argument));
        }
        format!("`{command}` has moved to kubectl-replicas; use: {line}")
    }
}

/// Quotes an argument for a shell: as it is, in quotes or, if it is not plain text, as `$'…'`.
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
            // Always three digits, so that a digit after them is not read as one of them.
            _ => write!(text, r"\{byte:03o}").expect("writing to a String never fails"),
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
    fn the_new_command_has_the_same_arguments() {
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
    fn a_shell_reads_the_original_arguments() {
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
