//! Completes a command line for kubectl, which asks a program `kubectl_complete-replicas` for that.
//!
//! The answer is one candidate a line, with a description after a tab, and a last line with a colon and flags: 4 means
//! that candidates are no files.

use std::time::Duration;

use clap::builder::StyledStr;
use clap::{Arg, Command, FromArgMatches as _};
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::ListParams;
use kube::config::Kubeconfig;
use replica_count_api::proto::{Kind, ListDeploymentsRequest};
use tokio::time;

use crate::calls::{ALL_KINDS, Calls};
use crate::connect::ConnectArgs;
use crate::failure::Failure;
use crate::output::{lines, print, words};

/// How long the server may take: nobody waits longer for a completion.
const PATIENCE: Duration = Duration::from_secs(2);

/// Candidates are files.
const FILES: &str = ":0\n";
/// Candidates are no files.
const NO_FILES: &str = ":4\n";

/// What stands where the last word is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Wanted {
    /// A subcommand.
    Subcommand,
    /// A flag.
    Flag,
    /// The value of a flag, by the name of the flag.
    Value(String),
    /// A workload, managed or not.
    Target,
    /// Nothing that is known.
    Nothing,
}

/// Prints the candidates for the last of some words. Fails never: nothing is completed then.
pub(crate) async fn run(root: &Command, words: &[String]) -> Result<(), Failure> {
    let (current, before) = words.split_last().map_or(("", words), |(last, before)| (last.as_str(), before));
    let (command, wanted) = wanted(root, before, current);
    let (candidates, directive) = match wanted {
        Wanted::Subcommand => (subcommands(command), NO_FILES),
        Wanted::Flag => (flags(command), NO_FILES),
        Wanted::Value(flag) => match flag.as_str() {
            "namespace" => (patiently(namespaces(before)).await, NO_FILES),
            "context" => (contexts(before), NO_FILES),
            flag => match possible(command, flag) {
                Some(values) => (values, NO_FILES),
                None => (Vec::new(), FILES),
            },
        },
        Wanted::Target => (patiently(targets(before, current)).await, NO_FILES),
        Wanted::Nothing => match command.get_positionals().next().and_then(possible_values) {
            Some(values) => (values, NO_FILES),
            None => (Vec::new(), NO_FILES),
        },
    };
    let mut text = lines(candidates.into_iter().filter(|candidate| candidate.starts_with(current)));
    text.push_str(directive);
    print::out(&text)
}

/// The command that the words before lead to, and what may follow them.
fn wanted<'a>(root: &'a Command, before: &[String], current: &str) -> (&'a Command, Wanted) {
    let (mut command, mut awaits) = (root, None);
    for word in before {
        if awaits.take().is_some() {
            continue;
        }
        if word.starts_with('-') {
            awaits = valued(command, word);
        } else if let Some(next) = command.find_subcommand(word) {
            command = next;
        }
    }
    let wanted = match awaits {
        Some(flag) => Wanted::Value(flag),
        None if current.starts_with('-') => Wanted::Flag,
        None if command.has_subcommands() => Wanted::Subcommand,
        None => match command.get_positionals().next().map(Arg::get_id) {
            Some(id) if ["targets", "target", "counts"].iter().any(|known| id == known) => Wanted::Target,
            Some(_) | None => Wanted::Nothing,
        },
    };
    (command, wanted)
}

/// The name of a flag whose value is the next word.
fn valued(command: &Command, word: &str) -> Option<String> {
    let arg = command.get_arguments().find(|arg| {
        let long = arg.get_long().is_some_and(|long| word.strip_prefix("--") == Some(long));
        let short = arg.get_short().is_some_and(|short| word.strip_prefix('-') == Some(&short.to_string()));
        long || short
    })?;
    let takes_value = arg.get_action().takes_values() && !arg.is_require_equals_set();
    takes_value.then(|| arg.get_id().to_string())
}

fn subcommands(command: &Command) -> Vec<String> {
    let shown = command.get_subcommands().filter(|command| !command.is_hide_set());
    shown.map(|command| described(command.get_name(), command.get_about())).collect()
}

fn flags(command: &Command) -> Vec<String> {
    let shown = command.get_arguments().filter(|arg| !arg.is_hide_set());
    shown.filter_map(|arg| Some(described(&format!("--{}", arg.get_long()?), arg.get_help()))).collect()
}

fn described(name: &str, description: Option<&StyledStr>) -> String {
    match description {
        Some(description) => format!("{name}\t{description}"),
        None => name.to_owned(),
    }
}

fn possible(command: &Command, flag: &str) -> Option<Vec<String>> {
    if flag == "output" && command.get_name() != "export" {
        return Some(["wide", "json", "yaml", "name"].map(str::to_owned).to_vec());
    }
    possible_values(command.get_arguments().find(|arg| arg.get_id() == flag)?)
}

fn possible_values(arg: &Arg) -> Option<Vec<String>> {
    let values = arg.get_possible_values();
    (!values.is_empty()).then(|| values.iter().map(|value| value.get_name().to_owned()).collect())
}

async fn patiently(found: impl Future<Output = Result<Vec<String>, Failure>>) -> Vec<String> {
    match time::timeout(PATIENCE, found).await {
        Ok(Ok(found)) => found,
        Ok(Err(_)) | Err(_) => Vec::new(),
    }
}

/// What the words say about the connection, and the namespace. Other words are left out.
fn partial(words: &[String]) -> Option<(ConnectArgs, Option<String>)> {
    use clap::Args as _;
    let namespace = Arg::new("namespace").short('n').long("namespace");
    let command = ConnectArgs::augment_args(Command::new("partial").no_binary_name(true)).arg(namespace);
    let (mut known, mut words) = (Vec::new(), words.iter());
    while let Some(word) = words.next() {
        let flag = word.split_once('=').map_or(word.as_str(), |(flag, _)| flag);
        if valued(&command, flag).is_none() {
            continue;
        }
        if word.contains('=') {
            known.push(word.as_str());
        } else if let Some(value) = words.next() {
            known.extend([word.as_str(), value]);
        }
    }
    let matches = command.try_get_matches_from(known).ok()?;
    Some((ConnectArgs::from_arg_matches(&matches).ok()?, matches.get_one::<String>("namespace").cloned()))
}

fn contexts(before: &[String]) -> Vec<String> {
    let file = partial(before).and_then(|(connect, _)| connect.kubeconfig);
    let kubeconfig = match file {
        Some(file) => Kubeconfig::read_from(file),
        None => Kubeconfig::read(),
    };
    kubeconfig.map_or_else(
        |_| Vec::new(),
        |kubeconfig| kubeconfig.contexts.into_iter().map(|context| context.name).collect(),
    )
}

async fn namespaces(before: &[String]) -> Result<Vec<String>, Failure> {
    let Some((connect, _)) = partial(before) else { return Ok(Vec::new()) };
    let Some(context) = connect.context()? else { return Ok(Vec::new()) };
    let namespaces =
        Api::<Namespace>::all(context.client().await?).list_metadata(&ListParams::default()).await;
    let namespaces = namespaces.map_err(|error| Failure::new(error.to_string()))?;
    Ok(namespaces.items.into_iter().filter_map(|namespace| namespace.metadata.name).collect())
}

/// The workloads of the namespace. Kinds are shown once one is begun, or where they are needed.
async fn targets(before: &[String], current: &str) -> Result<Vec<String>, Failure> {
    let Some((connect, namespace)) = partial(before) else { return Ok(Vec::new()) };
    let calls = Calls::new(connect.connect().await?);
    let request = ListDeploymentsRequest {
        namespace: namespace.unwrap_or_else(|| calls.session().namespace().to_owned()),
        include_unmanaged: true,
        kinds: ALL_KINDS.map(Into::into).to_vec(),
        ..ListDeploymentsRequest::default()
    };
    let rows = calls.list(request).await.map_err(|status| calls.explain("ListDeployments", &status))?;
    let prefix = current.split_once('/').map(|(kind, _)| kind);
    let named = rows.iter().filter_map(|row| match prefix {
        Some(kind) => {
            (crate::target::parse_kind(kind) == Ok(row.kind())).then(|| format!("{kind}/{}", row.name))
        }
        None if row.kind() == Kind::Deployment => Some(row.name.clone()),
        None => Some(words::listed_name(row)),
    });
    Ok(named.filter(|name| !before.contains(name)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: &Wanted) {
        let root = crate::command::cli();
        let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
        let (current, before) = words.split_last().unwrap();
        assert_eq!(wanted(&root, before, current).1, *expected, "{line:?}");
    }

    #[test]
    fn the_words_before_say_what_is_wanted() {
        let value = |flag: &str| Wanted::Value(flag.to_owned());
        check("", &Wanted::Subcommand);
        check("ge", &Wanted::Subcommand);
        check("get ", &Wanted::Target);
        check("get --o", &Wanted::Flag);
        check("get -n ", &value("namespace"));
        check("get --namespace sh", &value("namespace"));
        check("get -n shop w", &Wanted::Target);
        check("get -o ", &value("output"));
        check("set web=3 a", &Wanted::Target);
        check("delete --all ", &Wanted::Target);
        check("who --context ", &value("context"));
        check("apply -f ", &value("files"));
        check("completion ", &Wanted::Nothing);
        check("certs ", &Wanted::Subcommand);
    }
}
