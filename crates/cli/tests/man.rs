//! The manual pages, which a release has beside the program. `MAN_PAGES=FOLDER` keeps them.

use std::path::PathBuf;
use std::{env, fs};

use clap::Command;
use tempfile::TempDir;

/// A command as its page shows it: with all flags, and without what only repeats other pages.
fn complete(command: Command) -> Command {
    let command = command.version(env!("CARGO_PKG_VERSION")).disable_help_subcommand(true);
    command.mut_args(|arg| arg.hide_short_help(false)).mut_subcommands(|command| {
        // Only the program itself tells its version.
        complete(command).disable_version_flag(true)
    })
}

#[test]
fn every_command_has_a_manual_page() {
    let scratch = TempDir::new().unwrap();
    let folder = env::var_os("MAN_PAGES").map_or_else(|| scratch.path().to_owned(), PathBuf::from);
    fs::create_dir_all(&folder).unwrap();
    let command = complete(replica_count_cli::command::cli());
    clap_mangen::generate_to(command.clone(), &folder).unwrap();
    for file in fs::read_dir(&folder).unwrap() {
        let file = file.unwrap().path();
        let page = fs::read_to_string(&file).unwrap();
        fs::write(&file, page.replace(".SH EXTRA\nExamples:", ".SH EXAMPLES")).unwrap();
    }
    let page = |name: &str| fs::read_to_string(folder.join(format!("kubectl-replicas-{name}.1"))).unwrap();
    for command in command.get_subcommands().filter(|command| !command.is_hide_set()) {
        let name = command.get_name();
        assert!(page(name).contains(&format!("\\fBkubectl replicas {name}\\fR")), "{}", page(name));
    }
    let get = page("get");
    for part in [
        ".SH EXAMPLES",
        "kubectl replicas get \\-A \\-\\-unmanaged",
        "Address of the server",
        "\\fBREPLICAS_SERVER\\fR",
        concat!(".SH VERSION\nv", env!("CARGO_PKG_VERSION")),
    ] {
        assert!(get.contains(part), "{part}: {get}");
    }
    assert!(!folder.join("kubectl-replicas-help.1").exists());
}
