//! `apply`: makes the server have what files say.

use std::collections::{BTreeSet, HashSet};
use std::io::{self, IsTerminal as _, Write as _};

use clap::Args;
use jiff::Timestamp;
use replica_count_api::proto::{
    DeleteDeploymentRequest, EnforcementMode, GetDeploymentResponse, Kind, SetDeploymentRequest,
    SetEnforcementRequest,
};
use replica_count_api::response::timestamp;
use tonic::Status;

use crate::bulk::{self, Outcome, Report};
use crate::calls::Calls;
use crate::connect::ConnectArgs;
use crate::dry_run::{DryRun, DryRunArgs};
use crate::failure::Failure;
use crate::manifest::{Change, Enforcement, Entry, Plan, Setting, Source, Step, read_all};
use crate::output::lines;
use crate::scope::ScopeArgs;
use crate::select::labelled;

const EXAMPLES: &str = "\
Examples:
  # Make the server have what a file says
  kubectl replicas apply -f counts.yaml

  # See what that would change
  kubectl replicas apply -f counts.yaml --dry-run

  # Also delete the counts of the namespace that the files do not have
  kubectl replicas apply -f counts/ --prune --all -n shop

A file has the entries of the settings file, in JSON or YAML, or ReplicaCounts. All files are read and \
checked, by the server too, before the first change. If it is interrupted, run it again: what is as the files say is \
left alone.";

/// Make the server have what files say
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ApplyArgs {
    #[command(flatten)]
    files: FilesArgs,
    /// Accept workloads that do not exist yet
    #[arg(long)]
    allow_missing: bool,
    /// Accept workloads that an autoscaler targets, and fight with the autoscaler
    #[arg(long)]
    allow_autoscaled: bool,
    /// Do not ask before something is deleted
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    dry_run: DryRunArgs,
    /// Print nothing if it succeeds
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// Files, and what they stand for.
#[derive(Args, Clone, Debug)]
pub(crate) struct FilesArgs {
    /// Files, folders, or - for standard input
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    files: Vec<String>,
    /// Delete counts that the files do not have: those with labels (-l), or all of the namespace (--all)
    #[arg(long, requires = "pruned")]
    prune: bool,
    /// With --prune: only of workloads with these labels
    #[arg(short = 'l', long, value_name = "SELECTOR", requires = "prune", group = "pruned")]
    selector: Option<String>,
    /// With --prune: of all workloads
    #[arg(long, requires = "prune", group = "pruned")]
    all: bool,
    #[command(flatten)]
    pub(crate) scope: ScopeArgs,
}

impl FilesArgs {
    /// Whether no file is named.
    pub(crate) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Reads all files, then what the server has, and compares.
    pub(crate) async fn plan(&self, connect: &ConnectArgs) -> Result<(Calls, Plan), Failure> {
        let context = connect.context()?;
        let default = context.as_ref().map_or("default", |context| context.namespace());
        let only = self.scope.named();
        let sources: Vec<_> = self.files.iter().map(|file| Source::from(file.as_str())).collect();
        let entries = read_all(&sources, only.unwrap_or(default), only)?;
        let calls = Calls::new(connect.connect().await?);
        let pruned = if self.prune { Some(self.scope.of(calls.session())) } else { None };
        let rows = current(&calls, &entries, pruned.as_deref()).await?;
        let labelled = match (&self.selector, &pruned) {
            (Some(selector), Some(namespace)) => Some(labelled(calls.session(), namespace, selector).await?),
            (None, _) | (_, None) => None,
        };
        let may_prune = |row: &GetDeploymentResponse| match &pruned {
            None => false,
            Some(namespace) => {
                (namespace.is_empty() || *namespace == row.namespace) && has_labels(row, labelled.as_ref())
            }
        };
        let plan = Plan::new(entries, &rows, may_prune, Timestamp::now());
        Ok((calls, plan))
    }
}

fn has_labels(row: &GetDeploymentResponse, labelled: Option<&HashSet<(String, Kind, String)>>) -> bool {
    let key = || (row.namespace.clone(), row.kind(), row.name.clone());
    labelled.is_none_or(|labelled| labelled.contains(&key()))
}

/// What the server has in the namespaces of the entries, and in those that are pruned.
async fn current(
    calls: &Calls,
    entries: &[Entry],
    pruned: Option<&str>,
) -> Result<Vec<GetDeploymentResponse>, Failure> {
    if pruned == Some("") {
        return super::get::list(calls, "", false).await;
    }
    let namespaces = entries.iter().map(|entry| entry.namespace.as_str()).chain(pruned);
    let mut rows = Vec::new();
    for namespace in namespaces.collect::<BTreeSet<_>>() {
        rows.extend(super::get::list(calls, namespace, false).await?);
    }
    Ok(rows)
}

impl ApplyArgs {
    /// Runs the command.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        if self.files.is_empty() {
            return Err(Failure::usage("name files with -f"));
        }
        let (calls, plan) = self.files.plan(&self.connect).await?;
        let dry_run = self.dry_run.dry_run;
        if dry_run != DryRun::Client {
            self.check(&calls, &plan).await?;
        }
        if dry_run == DryRun::None {
            self.confirm(&plan)?;
        }
        let report = Report { quiet: self.quiet, done: "applied", leave_out: &[] };
        bulk::run(plan.changes, report, |change| self.apply(&calls, change, dry_run)).await
    }

    /// Lets the server check all counts, so that nothing is applied if it refuses one.
    async fn check(&self, calls: &Calls, plan: &Plan) -> Result<(), Failure> {
        let changes: Vec<_> = plan.needed().cloned().collect();
        let checked = bulk::gather(changes, |change| async move {
            for step in &change.steps {
                if let Step::Set { count, until } = *step {
                    let request =
                        SetDeploymentRequest { dry_run: true, ..self.request(&change, count, until) };
                    let answer = calls.set(request).await;
                    let is_old = answer.as_ref().is_ok_and(|answer| answer.hold_until.is_none());
                    let place = change.place.as_ref().expect("only what is in a file is set");
                    if let Err(status) = answer {
                        return Some((place.to_string(), calls.explain("SetDeployment", &status)));
                    }
                    if until.is_some() && is_old {
                        let failure = Failure::new("the server does not know temporary counts: upgrade it");
                        return Some((place.to_string(), failure));
                    }
                }
            }
            None
        })
        .await;
        let refused: Vec<_> = checked.into_iter().flatten().collect();
        let Some((_, first)) = refused.first() else { return Ok(()) };
        let problems: Vec<_> =
            refused.iter().map(|(place, failure)| format!("{place}: {}", failure.message())).collect();
        let advice = first.advice().map(|advice| format!("\n{advice}")).unwrap_or_default();
        Err(Failure::new(problems.join("\nerror: ")).advise(format!("Nothing was applied.{advice}")))
    }

    /// Asks before something is deleted that no file names.
    fn confirm(&self, plan: &Plan) -> Result<(), Failure> {
        let pruned: Vec<_> = plan.changes.iter().filter(|change| change.place.is_none()).collect();
        if pruned.is_empty() || self.yes {
            return Ok(());
        }
        let names = lines(pruned.iter().map(|change| format!("  {}/{}", change.namespace, change.target)));
        let refused = Failure::new(format!("--prune would delete {} counts", pruned.len()))
            .advise("Nothing was applied. Look at them with --dry-run, and add --yes.");
        if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            return Err(refused);
        }
        let _ =
            write!(io::stderr(), "These counts are in no file, and will be deleted:\n{names}Go on? [y/N] ");
        let mut answer = String::new();
        match io::stdin().read_line(&mut answer) {
            Ok(_) if matches!(answer.trim(), "y" | "Y" | "yes") => Ok(()),
            Ok(_) | Err(_) => Err(Failure::new("not confirmed").advise("Nothing was applied.")),
        }
    }

    fn request(&self, change: &Change, count: i32, until: Option<Timestamp>) -> SetDeploymentRequest {
        SetDeploymentRequest {
            name: change.target.name.clone(),
            namespace: change.namespace.clone(),
            kind: change.target.kind.into(),
            replicas: Some(count),
            reason: change.after.as_ref().map(|after| after.reason.clone()).unwrap_or_default(),
            hold_until: until.map(timestamp),
            allow_missing: self.allow_missing,
            allow_autoscaled: self.allow_autoscaled,
            ..SetDeploymentRequest::default()
        }
    }

    async fn apply(&self, calls: &Calls, change: Change, dry_run: DryRun) -> Outcome {
        if dry_run == DryRun::None {
            for step in &change.steps {
                if let Err((call, status)) = self.step(calls, &change, step).await {
                    let place = change.place.as_ref().map(|place| format!("{place}: ")).unwrap_or_default();
                    return Err((format!("{place}{}", change.target), calls.explain(call, &status)));
                }
            }
        }
        Ok(format!("{}{}", line(&change), dry_run.suffix()))
    }

    async fn step(&self, calls: &Calls, change: &Change, step: &Step) -> Result<(), (&'static str, Status)> {
        let (name, namespace) = (change.target.name.clone(), change.namespace.clone());
        let kind = change.target.kind.into();
        match *step {
            Step::Set { count, until } => {
                let request = self.request(change, count, until);
                calls.set(request).await.map_err(|status| ("SetDeployment", status))?;
            }
            Step::Delete => {
                let request = DeleteDeploymentRequest { name, namespace, kind, ..Default::default() };
                calls.delete(request).await.map_err(|status| ("DeleteDeployment", status))?;
            }
            Step::Enforce(enforcement) => {
                let (mode, until) = match enforcement {
                    Enforcement::Enforce => (EnforcementMode::Enforce, None),
                    Enforcement::Ignore(until) => (EnforcementMode::Ignore, until.map(timestamp)),
                };
                let mode = mode.into();
                let request =
                    SetEnforcementRequest { name, namespace, kind, mode, until, ..Default::default() };
                calls.enforce(request).await.map_err(|status| ("SetEnforcement", status))?;
            }
        }
        Ok(())
    }
}

/// What becomes of a workload: the count before and after, if it changes.
pub(crate) fn line(change: &Change) -> String {
    let count = |setting: &Option<Setting>| setting.as_ref().and_then(Setting::count);
    let counts = match (count(&change.before), count(&change.after)) {
        (Some(before), Some(after)) if before != after => format!(" ({before} -> {after})"),
        (None, Some(after)) if !change.steps.is_empty() => format!(" ({after})"),
        _ => String::new(),
    };
    format!("{} {}{counts}", change.target, change.outcome())
}
