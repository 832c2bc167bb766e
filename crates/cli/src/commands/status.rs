//! `status`: of the server, and of what it manages.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use replica_count_api::proto::{DeploymentState, ListDeploymentsRequest};

use crate::calls::{ALL_KINDS, Calls};
use crate::connect::{ConnectArgs, Route, ServerPod, Session};
use crate::duration::{age, human};
use crate::failure::Failure;
use crate::output::{Table, lines, print, words};

/// A certificate that expires sooner should be renewed.
const SOON: Duration = Duration::from_hours(14 * 24);

const EXAMPLES: &str = "\
Examples:
  kubectl replicas status";

/// Show the state of the server and of its certificates
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    connect: ConnectArgs,
}

impl StatusArgs {
    /// Runs the command. Fails if the server is not ready to serve.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let session = self.connect.connect().await?;
        let health = session.connection.health().await;
        let calls = Calls::new(session);
        let session = calls.session();
        let now = Timestamp::now();
        let serves = health.as_ref().map_or_else(ToString::to_string, |()| "yes".to_owned());
        let mut text = lines([
            format!("Server:        {}", route(session)),
            format!("Serves:        {serves}"),
            format!("You are:       {}", you(session, now)),
            format!("Counts:        {}", counts(&calls).await),
        ]);
        if let Some(pods) = session.pods().await? {
            text.push_str(&about(&pods));
            text.push('\n');
            text.push_str(&table(&pods, now).render());
        }
        print::out(&text)?;
        health.map_err(|error| Failure::new(format!("the server {error}")))
    }
}

fn route(session: &Session) -> String {
    match &session.route {
        Route::Direct(address) => address.to_string(),
        Route::Forward(service) => format!("Service {service}, through the API server"),
    }
}

/// The user, and how long the certificate is valid.
fn you(session: &Session, now: Timestamp) -> String {
    let Some(certificate) = session.pair.certificate() else { return "unknown".to_owned() };
    let groups = match certificate.groups.as_slice() {
        [] => String::new(),
        groups => format!(" of {}", groups.join(", ")),
    };
    let left = certificate.not_after.duration_since(now);
    let warning = if left.unsigned_abs() < SOON { " (renew it)" } else { "" };
    format!(
        "{}{groups}; the certificate from {} expires in {}{warning}",
        certificate.user,
        session.pair,
        human(left)
    )
}

/// How many workloads are in which state.
async fn counts(calls: &Calls) -> String {
    let request = ListDeploymentsRequest {
        kinds: ALL_KINDS.map(Into::into).to_vec(),
        ..ListDeploymentsRequest::default()
    };
    let rows = match calls.list(request).await {
        Ok(rows) => rows,
        Err(status) => return format!("not known: {}", calls.explain("ListDeployments", &status).message()),
    };
    let mut states = BTreeMap::new();
    for row in &rows {
        *states.entry(row.state()).or_insert(0_usize) += 1;
    }
    let in_sync = |state: &DeploymentState| *state != DeploymentState::InSync;
    let mut states: Vec<_> = states.into_iter().collect();
    states.sort_by_key(|(state, _)| in_sync(state));
    let states: Vec<_> =
        states.into_iter().map(|(state, count)| format!("{count} {}", words::state(state))).collect();
    match states.as_slice() {
        [] => "none".to_owned(),
        states => format!("{} ({})", rows.len(), states.join(", ")),
    }
}

/// The store and the guard, as the metrics of any pod say.
fn about(pods: &[ServerPod]) -> String {
    let Some(pod) = pods.iter().find(|pod| pod.metrics.is_some()) else { return String::new() };
    let store = match pod.metric("store_available") {
        Some(available) if available > 0.0 => "crd",
        Some(_) => "crd, which the API server does not show now",
        None => "file",
    };
    let modes = ["correct", "deny", "warn"];
    let mode =
        modes.into_iter().find(|mode| pod.metric(&format!("guard_mode{{mode=\"{mode}\"}}")) == Some(1.0));
    format!("Store:         {store}\nGuard:         {}\n", mode.unwrap_or("off"))
}

fn table(pods: &[ServerPod], now: Timestamp) -> Table {
    let mut table = Table::new(Some(&["POD", "READY", "ENFORCES", "VERSION", "CERTIFICATE", "NODE", "AGE"]));
    for pod in pods {
        let enforces = match (pod.metric("leader"), &pod.metrics) {
            (Some(leader), _) if leader > 0.0 => "yes",
            (Some(_), _) => "no",
            (None, Some(_)) => "yes",
            (None, None) => "-",
        };
        let expires = pod.metric("certificate_expiration_timestamp_seconds{certificate=\"server\"}");
        #[expect(clippy::cast_possible_truncation, reason = "seconds since 1970 fit")]
        let expires = expires.and_then(|seconds| Timestamp::from_second(seconds as i64).ok());
        table.push(vec![
            pod.name.clone(),
            if pod.ready { "yes" } else { "no" }.to_owned(),
            enforces.to_owned(),
            pod.version.clone(),
            expires.map_or_else(|| "-".to_owned(), |at| human(at.duration_since(now))),
            words::or_dash(&pod.node),
            pod.started.map_or_else(|| "-".to_owned(), |at| age(at, now)),
        ]);
    }
    table
}
