//! `watch`: what happens, as it happens.

use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use replica_count_api::proto::{
    Event, EventType, ListEventsRequest, WatchDeploymentsRequest, WatchDeploymentsResponse,
};
use replica_count_api::response::timestamp;
use tokio::time;
use tonic::{Code, Status, Streaming};

use crate::calls::{ALL_KINDS, Calls};
use crate::connect::ConnectArgs;
use crate::failure::Failure;
use crate::output::events::{self, Columns};
use crate::output::{Format, OutputArgs, print};
use crate::scope::ScopeArgs;
use crate::target::Target;

/// The pause before a stream that ended is opened again. It doubles each time, up to the longest.
const PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Events that may have happened between two streams.
const MISSED: usize = 10_000;

const EXAMPLES: &str = "\
Examples:
  # What happens in the namespace of the context, until Ctrl-C
  kubectl replicas watch

  # Drifts of all namespaces, as JSON, one a line
  kubectl replicas watch -A --drifts -o json

If the connection ends, it is opened again, and what happened meanwhile is shown first.";

/// Show what happens, as it happens
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct WatchArgs {
    /// The workload: NAME or KIND/NAME [default: all of the namespace]
    #[arg(value_name = "[KIND/]NAME")]
    target: Option<Target>,
    /// Only drifts
    #[arg(long)]
    drifts: bool,
    #[command(flatten)]
    scope: ScopeArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// A stream that is opened again when it ends, so that no event is missed or shown twice.
struct Watch<'a> {
    calls: &'a Calls,
    request: WatchDeploymentsRequest,
    /// The last event, or the time when the first stream began.
    last: Last,
}

/// How far a watch has come.
#[derive(Clone, Copy, Debug)]
struct Last {
    id: i64,
    at: prost_types::Timestamp,
}

impl WatchArgs {
    /// Runs the command. It ends only with an error or a signal.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let calls = Calls::new(self.connect.connect().await?);
        let namespace = self.scope.of(calls.session());
        let columns = Columns {
            wide: self.output.output == Some(Format::Wide),
            namespace: namespace.is_empty(),
            name: true,
            times: true,
        };
        let mut lines =
            Lines { columns, format: self.output.output.clone(), headers: !self.output.no_headers };
        let request = WatchDeploymentsRequest {
            name: self.target.as_ref().map(|target| target.name.clone()).unwrap_or_default(),
            namespace,
            kinds: match &self.target {
                Some(target) => vec![target.kind.into()],
                None => ALL_KINDS.map(Into::into).to_vec(),
            },
            types: if self.drifts { vec![EventType::EventDrifted.into()] } else { Vec::new() },
            ..WatchDeploymentsRequest::default()
        };
        follow(&calls, request, async || Ok(()), async |event| lines.print(event)).await
    }
}

/// Calls `begin` when the stream is open, and gives all later events to `show`, until one of them fails or the server
/// refuses.
pub(crate) async fn follow(
    calls: &Calls,
    request: WatchDeploymentsRequest,
    begin: impl AsyncFnOnce() -> Result<(), Failure>,
    mut show: impl AsyncFnMut(&Event) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let now = timestamp(Timestamp::now());
    let mut watch = Watch { calls, request, last: Last { id: 0, at: now } };
    let (mut pause, mut begin, mut told) = (PAUSE, Some(begin), false);
    loop {
        let ended = match watch.open().await {
            Ok(mut stream) => {
                match begin.take() {
                    Some(begin) => begin().await?,
                    None => {
                        print::note("watching again");
                        for event in watch.missed().await? {
                            show(&event).await?;
                        }
                    }
                }
                (pause, told) = (PAUSE, false);
                watch.read(&mut stream, &mut show).await?
            }
            Err(status) => status,
        };
        let failure = calls.explain("WatchDeployments", &ended);
        if begin.is_some() || !is_temporary(&ended) {
            return Err(failure);
        }
        if !std::mem::replace(&mut told, true) {
            print::note(&format!("the stream ended, and is opened again: {}", failure.message()));
        }
        time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

impl Watch<'_> {
    /// Opens a stream, and skips its snapshot.
    async fn open(&self) -> Result<Streaming<WatchDeploymentsResponse>, Status> {
        let mut stream = self.calls.watch(self.request.clone()).await?;
        while let Some(message) = stream.message().await? {
            if message.snapshot_complete {
                return Ok(stream);
            }
        }
        Err(Status::unavailable("it ended before its snapshot was complete"))
    }

    /// Shows events until the stream ends. Returns why.
    async fn read(
        &mut self,
        stream: &mut Streaming<WatchDeploymentsResponse>,
        show: &mut impl AsyncFnMut(&Event) -> Result<(), Failure>,
    ) -> Result<Status, Failure> {
        loop {
            match stream.message().await {
                Ok(Some(WatchDeploymentsResponse { event: Some(event), .. })) => {
                    if self.is_new(&event) {
                        self.advance(&event);
                        show(&event).await?;
                    }
                }
                Ok(Some(_)) => {}
                Ok(None) => return Ok(Status::unavailable("the server ended it")),
                Err(status) => return Ok(status),
            }
        }
    }

    /// What happened since the last event, oldest first.
    async fn missed(&mut self) -> Result<Vec<Event>, Failure> {
        let request = ListEventsRequest {
            name: self.request.name.clone(),
            namespace: self.request.namespace.clone(),
            kind: match self.request.kinds.as_slice() {
                [only] => Some(*only),
                _ => None,
            },
            since: Some(self.last.at),
            types: self.request.types.clone(),
            ..ListEventsRequest::default()
        };
        let mut events = self.calls.events(request, MISSED).await?;
        events.reverse();
        events.retain(|event| self.is_new(event));
        if let Some(last) = events.last() {
            self.advance(last);
        }
        Ok(events)
    }

    /// Ids grow in one history. Another server may have another history, in which times still grow.
    fn is_new(&self, event: &Event) -> bool {
        let at = |time: &prost_types::Timestamp| (time.seconds, time.nanos);
        event.id > self.last.id || event.at.as_ref().is_some_and(|time| at(time) > at(&self.last.at))
    }

    fn advance(&mut self, event: &Event) {
        self.last = Last { id: event.id, at: event.at.unwrap_or(self.last.at) };
    }
}

/// Whether another attempt may succeed.
fn is_temporary(status: &Status) -> bool {
    use std::error::Error as _;
    matches!(status.code(), Code::Unavailable | Code::ResourceExhausted) || status.source().is_some()
}

/// Prints events, one a line.
struct Lines {
    columns: Columns,
    format: Option<Format>,
    headers: bool,
}

impl Lines {
    fn print(&mut self, event: &Event) -> Result<(), Failure> {
        match &self.format {
            Some(Format::Json) => print::out(&format!("{}\n", events::object(event))),
            Some(Format::Yaml) => {
                print::out(&format!("---\n{}", crate::output::yaml(&events::object(event))?))
            }
            Some(Format::Name) => print::out(&format!("{}\n", events::target(event))),
            Some(Format::JsonPath(template)) => print::out(&template.render(&events::object(event))),
            Some(Format::CustomColumns(_)) => {
                Err(Failure::usage("events have their own columns: choose another format"))
            }
            None | Some(Format::Wide) => {
                // Lines come one by one, so columns have a usual width.
                let mut line = String::new();
                if std::mem::take(&mut self.headers) {
                    self.line(&mut line, self.columns.headers().into_iter().map(str::to_owned));
                }
                self.line(&mut line, self.columns.row(event, Timestamp::now()).into_iter());
                print::out(&line)
            }
        }
    }

    fn line(&self, text: &mut String, cells: impl Iterator<Item = String>) {
        let widths = self.columns.headers().into_iter().map(width);
        let cells: Vec<_> = cells.zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text.push_str(cells.join("   ").trim_end());
        text.push('\n');
    }
}

/// The usual width of a column.
fn width(header: &str) -> usize {
    match header {
        "TIME" => "2030-01-01T00:00:00Z".len(),
        "NAMESPACE" | "BY" => 16,
        "NAME" => 20,
        "EVENT" => 15,
        "COUNT" => 9,
        header => header.len(),
    }
}
