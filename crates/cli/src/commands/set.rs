//! `set`: stores desired counts.

use clap::Args;
use jiff::Timestamp;
use replica_count_api::proto::{SetDeploymentRequest, SetDeploymentResponse};
use replica_count_api::response::timestamp;
use tonic::Status;

use crate::bulk::{self, Outcome, Report};
use crate::calls::{self, Calls};
use crate::change::ChangeArgs;
use crate::dry_run::DryRun;
use crate::failure::Failure;
use crate::output::words;
use crate::target::Target;
use crate::until::UntilArgs;

const USAGE: &str = "\
kubectl replicas set [KIND/]NAME COUNT [OPTIONS]
       kubectl replicas set [KIND/]NAME=COUNT... [OPTIONS]";

const EXAMPLES: &str = "\
Examples:
  # web must have 10 replicas from now on
  kubectl replicas set web 10 --reason 'spring sale'

  # Two at once, of which one is a StatefulSet
  kubectl replicas set web=10 statefulset/db=3

  # Only for two hours: then the count before it holds again
  kubectl replicas set web 10 --for 2h --reason 'load test'

  # Only check whether the server would accept it
  kubectl replicas set web 10 --dry-run";

/// Set desired counts, and manage the workloads from then on
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES, override_usage = USAGE)]
pub(crate) struct SetArgs {
    /// [KIND/]NAME and COUNT, or any number of [KIND/]NAME=COUNT
    #[arg(required = true, value_name = "COUNTS")]
    counts: Vec<String>,
    #[command(flatten)]
    how: HowArgs,
    #[command(flatten)]
    change: ChangeArgs,
}

/// Under which conditions counts are stored.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct HowArgs {
    /// Why, for those who read it later
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// Accept a workload that does not exist yet
    #[arg(long)]
    pub(crate) allow_missing: bool,
    /// Accept a workload that an autoscaler targets, and fight with the autoscaler
    #[arg(long)]
    pub(crate) allow_autoscaled: bool,
    /// Replace an entry that another version has stored and this server does not support
    #[arg(long)]
    pub(crate) replace_unknown: bool,
    /// Change the count only if the setting still has this generation; 0: only if there is none
    #[arg(long, value_name = "N")]
    pub(crate) if_generation: Option<i64>,
    #[command(flatten)]
    pub(crate) until: UntilArgs,
}

impl HowArgs {
    /// The request that stores a count.
    pub(crate) fn request(
        &self,
        namespace: &str,
        target: &Target,
        count: i32,
        until: Option<Timestamp>,
    ) -> SetDeploymentRequest {
        SetDeploymentRequest {
            hold_until: until.map(timestamp),
            name: target.name.clone(),
            namespace: namespace.to_owned(),
            kind: target.kind.into(),
            replicas: Some(count),
            expected_generation: self.if_generation,
            reason: self.reason.clone().unwrap_or_default(),
            allow_missing: self.allow_missing,
            allow_autoscaled: self.allow_autoscaled,
            replace_unknown: self.replace_unknown,
            ..SetDeploymentRequest::default()
        }
    }
}

impl SetArgs {
    /// Runs the command.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let (counts, until) = (parse(&self.counts)?, self.how.until.time()?);
        let (calls, namespace) = self.change.connect().await?;
        let dry_run = self.change.dry_run();
        let report = Report { quiet: self.change.quiet, done: "set", leave_out: &[] };
        bulk::run(counts, report, |(target, count)| {
            let request = self.how.request(&namespace, &target, count, until);
            store(&calls, target, request, dry_run)
        })
        .await
    }

    /// The same, but only for workloads that are not managed yet.
    pub(crate) async fn create(mut self) -> Result<(), Failure> {
        self.how.if_generation = Some(0);
        self.run().await
    }
}

/// Stores one count. Says what it was before.
pub(crate) async fn store(
    calls: &Calls,
    target: Target,
    mut request: SetDeploymentRequest,
    dry_run: DryRun,
) -> Outcome {
    let count = request.replicas.unwrap_or_default();
    if dry_run == DryRun::Client {
        return Ok(format!("{target} set to {count}{}", dry_run.suffix()));
    }
    if let Err(failure) = check_hold(calls, &request).await {
        return Err((target.to_string(), failure));
    }
    request.dry_run = dry_run == DryRun::Server;
    match calls.set(request.clone()).await {
        Ok(answer) => {
            let (until, before) = (until(&answer), before(&answer));
            Ok(format!("{target} set to {count}{until}{before}{}", dry_run.suffix()))
        }
        Err(status) => {
            let failure = refused(calls, &target, &request, &status).await;
            Err((target.to_string(), failure))
        }
    }
}

/// An older server ignores the end of a temporary count and would store it for good, so it is tried first.
async fn check_hold(calls: &Calls, request: &SetDeploymentRequest) -> Result<(), Failure> {
    if request.hold_until.is_none() {
        return Ok(());
    }
    // What else is wrong shows with the call itself.
    let tried = calls.set(SetDeploymentRequest { dry_run: true, ..request.clone() }).await;
    match tried {
        Ok(answer) if answer.hold_until.is_none() => {
            Err(Failure::new("the server does not know temporary counts: it is older than this command")
                .advise(
                    "Nothing was stored. Upgrade the server, or set the count without --for and --until.",
                ))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

/// When a temporary count ends, and what holds then.
fn until(answer: &SetDeploymentResponse) -> String {
    match answer.hold_until.and_then(words::time) {
        None => String::new(),
        Some(until) => match answer.replicas_afterwards {
            Some(count) => format!(" until {}, then {count}", words::second(until)),
            None => format!(" until {}, then no longer managed", words::second(until)),
        },
    }
}

/// The count that the workload had.
fn before(answer: &SetDeploymentResponse) -> String {
    match answer.old_replicas {
        Some(old) if Some(old) == answer.new_replicas => " (it has that many)".to_owned(),
        Some(old) => format!(" (it had {old})"),
        None => " (it does not exist yet)".to_owned(),
    }
}

/// Why a count was not stored, and who or what is in the way.
async fn refused(calls: &Calls, target: &Target, request: &SetDeploymentRequest, status: &Status) -> Failure {
    let failure = calls.explain("SetDeployment", status);
    match calls::reason(status).as_str() {
        "GENERATION_MISMATCH" => match calls.one(&request.namespace, target).await {
            Ok(found) if !found.set_by.is_empty() => failure.advise(format!(
                "{} has set it to {}, in generation {}. See `kubectl replicas who {}`.",
                found.set_by,
                found.desired_replicas.map_or_else(|| "another count".to_owned(), |count| count.to_string()),
                found.generation,
                target.name,
            )),
            Ok(_) | Err(_) => failure,
        },
        "DEPLOYMENT_NOT_FOUND" => match calls.similar(&request.namespace, target).await {
            Some(similar) => failure.advise(format!(
                "Did you mean {similar}? To set a count before the workload exists, add --allow-missing."
            )),
            None => failure,
        },
        _ => failure,
    }
}

/// Reads `NAME COUNT`, or any number of `NAME=COUNT`.
fn parse(words: &[String]) -> Result<Vec<(Target, i32)>, Failure> {
    let pairs: Vec<(&str, &str)> = match words {
        [name, count] if !name.contains('=') => vec![(name, count)],
        words => words.iter().map(|word| word.split_once('=')).collect::<Option<_>>().ok_or_else(|| {
            Failure::usage("write [KIND/]NAME COUNT, or [KIND/]NAME=COUNT for each workload")
        })?,
    };
    let mut counts = Vec::new();
    for (name, count) in pairs {
        let target: Target = name.parse().map_err(|error| Failure::usage(format!("{name:?}: {error}")))?;
        if counts.iter().any(|(other, _)| *other == target) {
            return Err(Failure::usage(format!("{target} is named twice")));
        }
        let number: i32 =
            count.parse().ok().filter(|number| *number >= 0).ok_or_else(|| {
                Failure::usage(format!("{count:?} is not a count: write a number from 0 on"))
            })?;
        counts.push((target, number));
    }
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use replica_count_api::proto::Kind;

    use super::*;

    fn parsed(words: &[&str]) -> Result<Vec<(Target, i32)>, Failure> {
        parse(&words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>())
    }

    fn target(kind: Kind, name: &str) -> Target {
        Target { kind, name: name.to_owned() }
    }

    #[test]
    fn counts_are_read() {
        assert_eq!(parsed(&["web", "3"]), Ok(vec![(target(Kind::Deployment, "web"), 3)]));
        assert_eq!(
            parsed(&["web=0", "sts/db=2"]),
            Ok(vec![(target(Kind::Deployment, "web"), 0), (target(Kind::StatefulSet, "db"), 2)])
        );
        for words in [
            &["web"][..],
            &["web", "-1"],
            &["web", "many"],
            &["web", "2", "api"],
            &["web=2", "api"],
            &["web=2", "deploy/web=3"],
            &["web", "2147483648"],
            &["pod/web", "2"],
        ] {
            assert!(parsed(words).is_err(), "{words:?}");
        }
    }
}
