//! Reads files completely before anything is done.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use replica_count_api::proto;
use replica_count_core::kind::Kind;
use replica_count_core::target::Target as Checked;

use super::entry::{Enforcement, Entry, Place};
use super::node::{self, Node, Value};
use super::object::{Object, Problem};
use crate::failure::Failure;
use crate::target::{Target, parse_kind};

/// Problems that are listed.
const LISTED: usize = 10;

/// Where entries come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// Standard input.
    Stdin,
    /// A file, or a folder of files.
    Path(PathBuf),
}

impl From<&str> for Source {
    fn from(text: &str) -> Self {
        if text == "-" { Self::Stdin } else { Self::Path(text.into()) }
    }
}

/// Reads all entries. Those without a namespace are in `default`; if `only` is given, others are refused.
pub fn read_all(sources: &[Source], default: &str, only: Option<&str>) -> Result<Vec<Entry>, Failure> {
    let mut texts = Vec::new();
    for source in sources {
        match source {
            Source::Stdin => texts.push(("stdin".to_owned(), io::read_to_string(io::stdin()))),
            Source::Path(path) if path.is_dir() => {
                texts.extend(
                    folder(path)?
                        .into_iter()
                        .map(|file| (file.display().to_string(), fs::read_to_string(file))),
                );
            }
            Source::Path(path) => texts.push((path.display().to_string(), fs::read_to_string(path))),
        }
    }
    let (mut entries, mut problems, mut is_empty) = (Vec::new(), Vec::new(), true);
    for (file, text) in texts {
        let text = text.map_err(|error| Failure::new(format!("{file}: {error}")))?;
        let mut reader =
            Reader { file: &file, default, only, entries: &mut entries, problems: &mut problems };
        for document in node::parse(&file, &text)? {
            is_empty = false;
            reader.document(document);
        }
    }
    refuse_duplicates(&entries, &mut problems);
    // An empty list says that there are no counts. Nothing at all comes from a program that failed.
    if is_empty {
        return Err(Failure::new("nothing was given"));
    }
    if problems.is_empty() {
        return Ok(entries);
    }
    let more = problems.len().saturating_sub(LISTED);
    problems.truncate(LISTED);
    if more > 0 {
        problems.push(format!("… and {more} more"));
    }
    Err(Failure::new(problems.join("\nerror: ")).advise("Nothing was applied."))
}

/// The files of a folder that may have entries, by name.
fn folder(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    let unreadable = |error: io::Error| Failure::new(format!("{}: {error}", path.display()));
    let mut files = Vec::new();
    for file in fs::read_dir(path).map_err(unreadable)? {
        let file = file.map_err(unreadable)?.path();
        if file
            .extension()
            .is_some_and(|extension| ["json", "yaml", "yml"].iter().any(|known| extension == *known))
        {
            files.push(file);
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(Failure::new(format!(
            "{}: there is no .json, .yaml or .yml file in this folder",
            path.display()
        )));
    }
    Ok(files)
}

fn refuse_duplicates(entries: &[Entry], problems: &mut Vec<String>) {
    let mut seen = HashMap::new();
    for entry in entries {
        let key = (&entry.namespace, entry.target.kind, &entry.target.name);
        if let Some(first) = seen.insert(key, &entry.place) {
            problems.push(format!(
                "{}: {} in the namespace {} is already at {first}",
                entry.place, entry.target, entry.namespace
            ));
        }
    }
}

struct Reader<'a> {
    file: &'a str,
    default: &'a str,
    only: Option<&'a str>,
    entries: &'a mut Vec<Entry>,
    problems: &'a mut Vec<String>,
}

impl Reader<'_> {
    /// A list of entries or objects, or one of them.
    fn document(&mut self, node: Node) {
        match node.value {
            Value::Null => {}
            Value::List(items) => items.into_iter().for_each(|item| self.item(item)),
            _ => self.item(node),
        }
    }

    fn item(&mut self, node: Node) {
        let read = Object::new("", node).and_then(|object| self.object(object));
        match read {
            Ok(Some(entry)) => self.entries.push(entry),
            Ok(None) => {}
            Err(Problem { line, key, text }) => self.problem(line, &key, &text),
        }
    }

    fn problem(&mut self, line: u64, key: &str, text: &str) {
        let key = if key.is_empty() { String::new() } else { format!("{key}: ") };
        self.problems.push(format!("{}:{line}: {key}{text}", self.file));
    }

    fn object(&mut self, mut object: Object) -> Result<Option<Entry>, Problem> {
        if !object.has("apiVersion") {
            return self.setting(object).map(Some);
        }
        let line = object.line;
        let (version, _) = object.text("apiVersion")?.unwrap_or_default();
        let (kind, kind_line) = object.text("kind")?.ok_or_else(|| object.missing("kind"))?;
        match (version.as_str(), kind.as_str()) {
            ("v1", "List") | ("replicacount.dev/v1alpha1", "ReplicaCountList") => {
                for item in object.list("items")? {
                    self.item(item);
                }
                Ok(None)
            }
            ("replicacount.dev/v1alpha1", "ReplicaCount") => self.replica_count(object, line).map(Some),
            _ => Err(Problem {
                line: kind_line,
                key: "kind".to_owned(),
                text: format!("{version} {kind} is neither a ReplicaCount nor a list of them"),
            }),
        }
    }

    /// An entry of the settings file.
    fn setting(&self, mut object: Object) -> Result<Entry, Problem> {
        let line = object.line;
        let name = object.text("name")?.ok_or_else(|| object.missing("name"))?;
        let namespace = object.text("namespace")?;
        let kind = kind(object.text("kind")?, "kind")?;
        let replicas = object.count("replicas")?;
        let temporary = match (object.count("temporaryReplicas")?, object.time("temporaryUntil")?) {
            (Some(count), Some(until)) => Some((count, until)),
            (None, None) => None,
            (Some(_), None) => return Err(object.missing("temporaryUntil")),
            (None, Some(_)) => return Err(object.missing("temporaryReplicas")),
        };
        if replicas.is_none() && temporary.is_none() {
            return Err(object.missing("replicas"));
        }
        let ignore = word(object.text("enforcement")?, "enforcement", ["enforce", "ignore"])?;
        let until = object.time("enforcementUntil")?;
        let reason = object.text("reason")?.map(|(reason, _)| reason);
        // What the server writes there about the setting that it has.
        object.ignore(&["generation", "setBy", "setAt"]);
        object.finish()?;
        let target = Target { kind, name: name.0 };
        let namespace = self.namespace(&target, namespace, name.1)?;
        let enforcement = enforcement(ignore, until, line, "enforcementUntil")?;
        Ok(Entry { place: self.place(line), namespace, target, replicas, temporary, enforcement, reason })
    }

    /// A ReplicaCount.
    fn replica_count(&self, mut object: Object, line: u64) -> Result<Entry, Problem> {
        object.ignore(&["status"]);
        let mut metadata = object.object("metadata")?.ok_or_else(|| object.missing("metadata"))?;
        let name = metadata.text("name")?.ok_or_else(|| metadata.missing("name"))?;
        let namespace = metadata.text("namespace")?;
        let mut spec = object.object("spec")?.ok_or_else(|| object.missing("spec"))?;
        object.finish()?;
        let (mut kind, mut target_name) = (proto::Kind::Deployment, None);
        if let Some(mut target) = spec.object("target")? {
            kind = self::kind(target.text("kind")?, "spec.target.kind")?;
            target_name = target.text("name")?;
            target.finish()?;
        }
        let replicas = spec.count("replicas")?;
        let temporary = match spec.object("temporary")? {
            None => None,
            Some(mut temporary) => {
                let count = temporary.count("replicas")?.ok_or_else(|| temporary.missing("replicas"))?;
                let until = temporary.time("until")?.ok_or_else(|| temporary.missing("until"))?;
                temporary.finish()?;
                Some((count, until))
            }
        };
        if replicas.is_none() && temporary.is_none() {
            return Err(spec.missing("replicas"));
        }
        let ignore = word(spec.text("enforcement")?, "spec.enforcement", ["Enforce", "Ignore"])?;
        let until = spec.time("enforcementUntil")?;
        let reason = spec.text("reason")?.map(|(reason, _)| reason);
        let enforcement = enforcement(ignore, until, spec.line, "spec.enforcementUntil")?;
        spec.finish()?;
        let (name, name_line) = target_name.unwrap_or(name);
        let target = Target { kind, name };
        let namespace = self.namespace(&target, namespace, name_line)?;
        Ok(Entry { place: self.place(line), namespace, target, replicas, temporary, enforcement, reason })
    }

    fn place(&self, line: u64) -> Place {
        Place { file: self.file.to_owned(), line }
    }

    /// The namespace, after a check of both names.
    fn namespace(
        &self,
        target: &Target,
        namespace: Option<(String, u64)>,
        line: u64,
    ) -> Result<String, Problem> {
        let (namespace, line) = namespace.unwrap_or_else(|| (self.default.to_owned(), line));
        let kind = match target.kind {
            proto::Kind::Deployment => Kind::Deployment,
            proto::Kind::StatefulSet => Kind::StatefulSet,
        };
        Checked::new(kind, &namespace, &target.name).map_err(|error| Problem {
            line,
            key: String::new(),
            text: error.to_string(),
        })?;
        match self.only {
            Some(only) if only != namespace => Err(Problem {
                line,
                key: "namespace".to_owned(),
                text: format!("{namespace:?} is not the namespace {only:?} that was asked for"),
            }),
            Some(_) | None => Ok(namespace),
        }
    }
}

fn kind(text: Option<(String, u64)>, key: &str) -> Result<proto::Kind, Problem> {
    match text {
        None => Ok(proto::Kind::Deployment),
        Some((text, line)) => parse_kind(&text).map_err(|text| Problem { line, key: key.to_owned(), text }),
    }
}

/// Whether it is the second of two words.
fn word(text: Option<(String, u64)>, key: &str, [first, second]: [&str; 2]) -> Result<bool, Problem> {
    match text {
        None => Ok(false),
        Some((text, _)) if text == first => Ok(false),
        Some((text, _)) if text == second => Ok(true),
        Some((text, line)) => {
            let text = format!("{text:?} is neither {first} nor {second}");
            Err(Problem { line, key: key.to_owned(), text })
        }
    }
}

fn enforcement(
    ignore: bool,
    until: Option<jiff::Timestamp>,
    line: u64,
    key: &str,
) -> Result<Enforcement, Problem> {
    match (ignore, until) {
        (true, until) => Ok(Enforcement::Ignore(until)),
        (false, None) => Ok(Enforcement::Enforce),
        (false, Some(_)) => Err(Problem {
            line,
            key: key.to_owned(),
            text: "is the end of ignoring, but enforcement is on".to_owned(),
        }),
    }
}
