//! `completion`: scripts for shells and for kubectl.

use clap::{Args, Command, ValueEnum};
use clap_complete::Shell;

use crate::failure::Failure;
use crate::output::print;

const EXAMPLES: &str = "\
Examples:
  # kubectl replicas, in every shell in which kubectl itself is completed: names come from the server
  kubectl replicas completion kubectl > ~/.local/bin/kubectl_complete-replicas
  chmod +x ~/.local/bin/kubectl_complete-replicas

  # kubectl-replicas, in the current bash
  source <(kubectl-replicas completion bash)";

/// What kubectl runs, if it is on the PATH as kubectl_complete-replicas.
const FOR_KUBECTL: &str = "#!/bin/sh\nexec kubectl-replicas __complete \"$@\"\n";

/// Print a script that completes this command line
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CompletionArgs {
    /// The shell, or kubectl
    #[arg(value_name = "SHELL")]
    shell: For,
}

/// Who completes.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum For {
    Bash,
    Elvish,
    Fish,
    Kubectl,
    Powershell,
    Zsh,
}

impl CompletionArgs {
    /// Prints the script for a command line.
    pub(crate) fn run(&self, mut command: Command) -> Result<(), Failure> {
        let shell = match self.shell {
            For::Bash => Shell::Bash,
            For::Elvish => Shell::Elvish,
            For::Fish => Shell::Fish,
            For::Kubectl => return print::out(FOR_KUBECTL),
            For::Powershell => Shell::PowerShell,
            For::Zsh => Shell::Zsh,
        };
        let name = command.get_name().to_owned();
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut command, name, &mut script);
        print::out(&String::from_utf8_lossy(&script))
    }
}
