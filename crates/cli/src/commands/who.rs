//! `who`: what happened to a workload, and who did it.

use clap::Args;
use jiff::Timestamp;
use replica_count_api::proto::{Event, EventType, ListEventsRequest};
use replica_count_api::response::timestamp;
use serde_json::{Value, json};

use crate::calls::Calls;
use crate::connect::ConnectArgs;
use crate::duration::parse_duration;
use crate::failure::Failure;
use crate::output::events::{self, Columns};
use crate::output::{Format, OutputArgs, print, yaml};
use crate::scope::ScopeArgs;
use crate::target::Target;
use std::time::Duration;

/// Events in a page.
const PAGE: i32 = 1_000;

const EXAMPLES: &str = "\
Examples:
  # Who changed the count of web, newest first
  kubectl replicas who web

  # All drifts of the last hour in all namespaces
  kubectl replicas who -A --since 1h --drifts

A name is proven if it is that of a client certificate, claimed if it is a field manager, which clients choose, and \
suspected if Kubernetes recorded nobody.";

/// Show what happened, and who did it, newest first
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES, visible_alias = "history")]
pub(crate) struct WhoArgs {
    /// The workload: NAME or KIND/NAME [default: all of the namespace]
    #[arg(value_name = "[KIND/]NAME")]
    target: Option<Target>,
    /// Only events of this time until now, for example 15m or 1d
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    since: Option<Duration>,
    /// Only drifts
    #[arg(long)]
    drifts: bool,
    /// At most this many events
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
    #[command(flatten)]
    scope: ScopeArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    connect: ConnectArgs,
}

impl WhoArgs {
    /// Runs the command.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let calls = Calls::new(self.connect.connect().await?);
        let namespace = self.scope.of(calls.session());
        let now = Timestamp::now();
        let since = self.since.map(|since| now.checked_sub(since)).transpose();
        let since = since.map_err(|_| Failure::usage("--since is too long"))?;
        let types = if self.drifts { vec![EventType::EventDrifted.into()] } else { Vec::new() };
        let request = ListEventsRequest {
            name: self.target.as_ref().map(|target| target.name.clone()).unwrap_or_default(),
            namespace: namespace.clone(),
            kind: self.target.as_ref().map(|target| target.kind.into()),
            since: since.map(timestamp),
            types,
            ..ListEventsRequest::default()
        };
        let events = calls.events(request, self.limit).await?;
        self.print(&events, &namespace, now)
    }

    fn print(&self, events: &[Event], namespace: &str, now: Timestamp) -> Result<(), Failure> {
        let objects = || -> Value {
            json!({ "apiVersion": "v1", "kind": "List", "items": events.iter().map(events::object).collect::<Vec<_>>() })
        };
        let text = match &self.output.output {
            None | Some(Format::Wide) => {
                if events.is_empty() {
                    return nothing(self.target.as_ref(), namespace);
                }
                let columns = Columns {
                    wide: self.output.output.is_some(),
                    namespace: namespace.is_empty(),
                    name: self.target.is_none(),
                    times: false,
                };
                columns.table(events, !self.output.no_headers, now).render()
            }
            Some(Format::Yaml) => yaml(&objects())?,
            Some(Format::Name) => return Err(Failure::usage("events have no names: choose another format")),
            Some(Format::JsonPath(template)) => template.render(&objects()),
            Some(Format::CustomColumns(_)) => {
                return Err(Failure::usage("events have their own columns: choose another format"));
            }
            Some(Format::Json) => format!("{:#}\n", objects()),
        };
        print::out(&text)
    }
}

fn nothing(target: Option<&Target>, namespace: &str) -> Result<(), Failure> {
    match target {
        None => print::nothing(namespace),
        Some(target) => {
            print::note(&format!("No events of {target} are remembered in {namespace} namespace."));
            Ok(())
        }
    }
}

impl Calls {
    /// The newest events, at most `limit`.
    pub(crate) async fn events(
        &self,
        mut request: ListEventsRequest,
        limit: usize,
    ) -> Result<Vec<Event>, Failure> {
        let mut events = Vec::new();
        while events.len() < limit {
            request.page_size = i32::try_from(limit - events.len()).unwrap_or(PAGE).min(PAGE);
            let page = self.list_events(request.clone()).await;
            let page = page.map_err(|status| self.explain("ListEvents", &status))?;
            events.extend(page.events);
            if page.next_page_token.is_empty() {
                break;
            }
            request.page_token = page.next_page_token;
        }
        Ok(events)
    }
}
