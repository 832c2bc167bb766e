//! The `import` and `export` subcommands: settings from the file to ReplicaCounts, and back. Nothing is ever deleted, and
//! what is the same on both sides is left alone, so both can be repeated.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use kube::Client;
use replica_count_core::entry_target::EntryTarget;
use replica_count_core::scope::Scope;
use replica_count_core::setting::{Enforcement, Setting, Settings};
use replica_count_core::settings_file;
use replica_count_core::stored::{Stored, Unsupported};
use replica_count_core::target::{Target, check_namespace};
use tokio_util::sync::CancellationToken;

use crate::kubernetes::connect::connect;
use crate::kubernetes::replica_count::{check_installed, list};
use crate::kubernetes::source::Source;
use crate::store::{BackendReason, Importer, Store, StoreError};

/// What both commands take.
#[derive(Args, Debug)]
pub struct TransferArgs {
    /// File of the desired counts, as the server writes it
    #[arg(long, env, value_name = "FILE", default_value = "/mnt/replicas.json")]
    file_path: PathBuf,
    /// Only print what would change
    #[arg(long)]
    dry_run: bool,
    /// Leave out entries that this version does not support, instead of refusing them
    #[arg(long)]
    skip_unsupported: bool,
    /// Kubeconfig file [default: $KUBECONFIG, ~/.kube/config, or the service account of the pod]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig [default: its current context]
    #[arg(long, env = "KUBE_CONTEXT", value_name = "NAME")]
    context: Option<String>,
    /// Only this namespace [default: all namespaces]
    #[arg(long, value_name = "NAMESPACE", value_parser = namespace)]
    namespace: Option<String>,
}

/// Why a command failed. Each message is one line.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// A file or the cluster is not usable as it is.
    #[error("{0}")]
    Usage(String),
    /// Something failed.
    #[error("{0}")]
    Failed(String),
}

impl TransferError {
    fn usage(error: impl fmt::Display) -> Self {
        Self::Usage(error.to_string())
    }

    fn failed(error: impl fmt::Display) -> Self {
        Self::Failed(error.to_string())
    }
}

/// What a command is to change.
#[derive(Debug, Default, PartialEq, Eq)]
struct Plan {
    /// What is to be stored, with what is there now.
    changes: Vec<(Target, Option<Arc<Setting>>, Arc<Setting>)>,
    unchanged: usize,
    /// What only the other side has. It stays.
    only_there: Vec<Target>,
}

impl TransferArgs {
    /// Stores the settings of the file as ReplicaCounts.
    pub async fn import(self) -> Result<(), TransferError> {
        let from = self.supported(read_file(&self.file_path)?, &self.file_path.display())?;
        let (client, stop) = self.connect().await?;
        let importer = self.importer(client).await?;
        let there = importer.stored();
        let plan = Plan::new(&from, &there.settings);
        check_free(&plan, &there.unsupported)?;
        plan.print("the cluster")?;
        if self.dry_run {
            return Ok(());
        }
        let mut failures = Vec::new();
        for (done, (target, _, setting)) in plan.changes.iter().enumerate() {
            progress(done, plan.changes.len());
            match importer.put(target, setting).await {
                Ok(()) => {}
                Err(error) if is_of_one(&error) => failures.push(format!("{target}: {error}")),
                Err(error) => return Err(TransferError::Failed(format!("{target}: {error}"))),
            }
        }
        progress(plan.changes.len(), plan.changes.len());
        stop.cancel();
        failures.iter().try_for_each(|failure| print(&format!("not imported: {failure}")))?;
        match failures.len() {
            0 => Ok(()),
            count => Err(TransferError::Failed(format!("{count} settings were not imported; the rest was"))),
        }
    }

    /// Stores the ReplicaCounts in the file.
    pub async fn export(self) -> Result<(), TransferError> {
        let (client, _stop) = self.connect().await?;
        let from = self.supported(self.importer(client).await?.stored(), &"the cluster")?;
        if self.dry_run {
            return Plan::new(&from, &read_file_or_none(&self.file_path)?.settings).print("the file");
        }
        // A server that uses the file holds its lock.
        let (store, committer) = Store::open_file(&self.file_path).map_err(TransferError::usage)?;
        if let Some(problem) = store.problem() {
            return Err(TransferError::Usage(problem));
        }
        let mut there = store.read_all(Stored::clone);
        let plan = Plan::new(&from, &there.settings);
        check_free(&plan, &there.unsupported)?;
        plan.print("the file")?;
        let count = plan.changes.len();
        for (target, _, setting) in plan.changes {
            there.settings.insert(target, setting);
        }
        if count > 0 {
            committer.replace_all(&there).map_err(TransferError::Failed)?;
        }
        Ok(())
    }

    /// The settings, if there is nothing else or that is to be left out.
    fn supported(&self, stored: Stored, place: &dyn fmt::Display) -> Result<Settings, TransferError> {
        match stored.unsupported.first_key_value() {
            Some((target, entry)) if !self.skip_unsupported => Err(TransferError::Usage(format!(
                "{place} has an entry that cannot be transferred, {target}: {}; leave such entries out with \
                 --skip-unsupported",
                entry.reason
            ))),
            Some(_) | None => {
                Ok(stored.settings.into_iter().filter(|(target, _)| self.is_in(target)).collect())
            }
        }
    }

    fn is_in(&self, target: &Target) -> bool {
        let scope = Scope { only: self.namespace.clone(), ..Scope::default() };
        scope.check_watched(Some(target.namespace()), target.kind()).is_ok()
    }

    async fn connect(&self) -> Result<(Client, CancellationToken), TransferError> {
        let source = Source { kubeconfig: self.kubeconfig.clone(), context: self.context.clone() };
        let opened = source.open().map_err(TransferError::usage)?;
        let (client, renewal) = connect(opened).map_err(TransferError::usage)?;
        let stop = CancellationToken::new();
        tokio::spawn(renewal.run(stop.clone()));
        match check_installed(&client).await {
            Ok(None) => Ok((client, stop)),
            Ok(Some(missing)) => Err(TransferError::usage(missing)),
            Err(error) => Err(TransferError::failed(error)),
        }
    }

    async fn importer(&self, client: Client) -> Result<Importer, TransferError> {
        let objects = list(&client, self.namespace.as_deref()).await.map_err(TransferError::failed)?;
        Ok(Importer::new(client, &objects))
    }
}

impl Plan {
    fn new(from: &Settings, there: &Settings) -> Self {
        let mut plan = Self::default();
        for (target, setting) in from {
            match there.get(target) {
                Some(present) if is_same(present, setting) => plan.unchanged += 1,
                present => plan.changes.push((target.clone(), present.cloned(), Arc::clone(setting))),
            }
        }
        plan.only_there = there.keys().filter(|target| !from.contains_key(*target)).cloned().collect();
        plan
    }

    fn print(&self, there: &str) -> Result<(), TransferError> {
        for (target, present, setting) in &self.changes {
            match present {
                None => print(&format!("+ {target} {}", describe(setting)))?,
                Some(present) => {
                    print(&format!("- {target} {}", describe(present)))?;
                    print(&format!("+ {target} {}", describe(setting)))?;
                }
            }
        }
        for target in &self.only_there {
            print(&format!("  {target} is only in {there}, and stays"))?;
        }
        let (changes, unchanged) = (self.changes.len(), self.unchanged);
        print(&format!(
            "{changes} to change, {unchanged} the same, {} only in {there}",
            self.only_there.len()
        ))
    }
}

/// Whether both settings are the same, apart from their generation, which each side counts itself.
fn is_same(one: &Setting, other: &Setting) -> bool {
    one.is_same_count_as(other) && one.enforcement == other.enforcement
}

fn describe(setting: &Setting) -> String {
    let (enforcement, until) = match setting.enforcement {
        Enforcement::Enforce => (None, None),
        Enforcement::Ignore { until } => (Some("ignore".to_owned()), until),
    };
    let fields = [
        ("replicas", setting.lasting().map(|lasting| lasting.to_string())),
        ("temporaryReplicas", setting.hold.map(|_| setting.replicas.to_string())),
        ("temporaryUntil", setting.hold.map(|hold| hold.until.to_string())),
        ("enforcement", enforcement),
        ("enforcementUntil", until.map(|until| until.to_string())),
        ("setBy", setting.set_by.clone()),
        ("setAt", setting.set_at.map(|at| at.to_string())),
        ("reason", setting.reason.as_ref().map(|reason| format!("{reason:?}"))),
    ];
    let shown = fields.into_iter().filter_map(|(key, value)| Some(format!("{key}={}", value?)));
    shown.collect::<Vec<_>>().join(" ")
}

/// Refuses to replace what another version has stored.
fn check_free(
    plan: &Plan,
    unsupported: &BTreeMap<EntryTarget, Arc<Unsupported>>,
) -> Result<(), TransferError> {
    let taken = plan.changes.iter().find_map(|(target, ..)| {
        let entry = unsupported.get(&EntryTarget::Known(target.clone()))?;
        Some((target, entry))
    });
    match taken {
        Some((target, entry)) => Err(TransferError::Usage(format!(
            "{target} would replace what this version does not support: {}; delete that first",
            entry.reason
        ))),
        None => Ok(()),
    }
}

/// Whether a failure says nothing about the other settings.
fn is_of_one(error: &StoreError) -> bool {
    matches!(error.backend_reason(), None | Some(BackendReason::NoNamespace | BackendReason::Refused))
}

fn namespace(text: &str) -> Result<String, String> {
    check_namespace(text).map(|()| text.to_owned()).map_err(|error| error.to_string())
}

fn read_file(path: &Path) -> Result<Stored, TransferError> {
    let text = std::fs::read(path)
        .map_err(|error| TransferError::Usage(format!("cannot read {}: {error}", path.display())))?;
    settings_file::parse(&text).map_err(|error| TransferError::Usage(format!("{}: {error}", path.display())))
}

fn read_file_or_none(path: &Path) -> Result<Stored, TransferError> {
    if path.exists() { read_file(path) } else { Ok(Stored::default()) }
}

fn print(line: &str) -> Result<(), TransferError> {
    writeln!(io::stdout(), "{line}").map_err(TransferError::failed)
}

/// Shows how far it is, if somebody watches.
fn progress(done: usize, all: usize) {
    let mut terminal = io::stderr();
    if terminal.is_terminal() {
        let end = if done == all { "\n" } else { "" };
        // Nothing depends on it.
        let _ = write!(terminal, "\r{done}/{all}{end}");
    }
}

#[cfg(test)]
mod tests {
    use replica_count_core::replicas::Replicas;

    use super::*;

    fn settings(counts: &[(&str, i32, u64)]) -> Settings {
        let setting = |(name, replicas, generation): &(&str, i32, u64)| {
            let replicas = Replicas::new(*replicas).unwrap();
            let setting = Setting { generation: *generation, ..Setting::of(replicas) };
            (Target::deployment("shop", name).unwrap(), Arc::new(setting))
        };
        counts.iter().map(setting).collect()
    }

    #[test]
    fn a_plan_changes_what_differs_and_deletes_nothing() {
        let from = settings(&[("a", 1, 1), ("b", 2, 7), ("c", 3, 1)]);
        let there = settings(&[("b", 2, 1), ("c", 4, 1), ("d", 5, 1)]);
        let plan = Plan::new(&from, &there);
        let changes: Vec<_> =
            plan.changes.iter().map(|(target, present, _)| (target.name(), present.is_some())).collect();
        assert_eq!(changes, [("a", false), ("c", true)]);
        assert_eq!((plan.unchanged, plan.only_there.len()), (1, 1));
        assert_eq!(Plan::new(&from, &from).changes, []);
    }
}
