//! The commands in Helm's notes work when pasted.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use super::{Step, passed};
use crate::fixture::{Fixture, NAME};
use crate::programs;
use crate::table::Outcome;

pub(super) const STEP: Step = Step {
    name: "notes",
    about: "every command in the notes works: certificate, port-forward, grpcurl",
    run: |fixture| Box::pin(run(fixture)),
};

async fn run(fixture: &Fixture) -> Result<Outcome> {
    let notes = fixture.programs.run(["helm", "get", "notes", NAME, "--namespace", NAME]).await?;
    let commands = commands(&notes);
    let folder = TempDir::new()?;
    let mut forward = None;
    let mut answer = None;
    for command in &commands {
        if command.contains("port-forward") {
            forward = Some(fixture.forward(folder.path(), command).await?);
        } else {
            answer = Some(programs::output(fixture.shell_command(folder.path(), command)).await?);
        }
    }
    ensure!(forward.is_some(), "there is no port-forward in {commands:?}");
    let answer = answer.context("there is no command")?;
    serde_json::from_str::<Value>(&answer).with_context(|| format!("grpcurl answered {answer}"))?;
    Ok(passed(format!("{} commands; grpcurl lists over a port-forward of 8080", commands.len())))
}

/// The indented lines, with continuation lines joined.
fn commands(notes: &str) -> Vec<String> {
    let mut commands: Vec<String> = Vec::new();
    let mut continues = false;
    for line in notes.lines().filter_map(|line| line.strip_prefix("  ")) {
        match commands.last_mut() {
            Some(last) if continues => last.extend(["\n", line]),
            Some(_) | None => commands.push(line.to_owned()),
        }
        continues = line.ends_with('\\');
    }
    commands
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indented_lines_are_commands() {
        let notes = "Text\n\n  one\n\nText:\n\n  two \\\n    more\n  three\n";
        assert_eq!(commands(notes), ["one", "two \\\n  more", "three"]);
    }
}
