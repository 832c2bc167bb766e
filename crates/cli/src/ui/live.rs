//! The live stream of one page: rows, and what happens, as server-sent events.
//!
//! The server streams a snapshot and then events, which say what happened but not everything that a row shows. So the
//! rows of workloads with events are read again, and from time to time all rows, because pods become ready and unmanaged
//! workloads are scaled without an event. When the server ends, the stream connects again, and sends what differs.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Response, StatusCode};
use futures_util::future::{BoxFuture, FutureExt as _, OptionFuture, join_all};
use futures_util::stream;
use replica_count_api::proto;
use replica_count_client::Connection;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::{self, Sender};
use tokio::time::{self, Instant};
use tonic::{Status, Streaming};

use super::agenda::Agenda;
use super::failure::{Failure, json};
use super::page::answer;
use super::rows::{Changes, Rows};
use super::shapes::{Event, Row, Target};
use crate::calls::{self, ALL_KINDS, KIND_NOT_MANAGED, reason};

/// Messages that wait for the page.
const QUEUE: usize = 64;
/// How long the server may take for the next message of the snapshot.
const SNAPSHOT_DEADLINE: Duration = Duration::from_secs(30);
/// The first and the longest pause before connecting again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(3));

/// Why a server does not list unmanaged workloads of a kind: it does not manage the kind, or may not read it. The page
/// shows the others.
const LACKS_KIND: [&str; 2] = [KIND_NOT_MANAGED, "KIND_NOT_READABLE"];

/// What the server streams.
type Events = Streaming<proto::WatchDeploymentsResponse>;

/// What the page wants to see.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Scope {
    /// Only this namespace. Empty: all.
    pub(super) namespace: String,
}

/// The page has gone, or the server has ended the stream.
enum Ended {
    Gone,
    Lost(Status),
}

impl From<Status> for Ended {
    fn from(status: Status) -> Self {
        Self::Lost(status)
    }
}

/// The answer to a page: it lasts until the page goes.
pub(super) fn stream(connection: Connection, scope: Scope) -> Response<Body> {
    let (sender, receiver) = mpsc::channel(QUEUE);
    // Ends when the page has gone: nothing can be sent then.
    tokio::spawn(Live { connection, scope, sender, rows: Rows::default() }.run());
    let messages = stream::unfold(receiver, async |mut receiver| {
        let message: String = receiver.recv().await?;
        Some((Ok::<_, Infallible>(message), receiver))
    });
    answer(StatusCode::OK, "text/event-stream", Body::from_stream(messages))
}

struct Live {
    connection: Connection,
    scope: Scope,
    sender: Sender<String>,
    rows: Rows,
}

impl Live {
    async fn run(mut self) {
        let (first, longest) = PAUSES;
        let sender = self.sender.clone();
        let mut pause = first;
        loop {
            let started = Instant::now();
            let ended = tokio::select! {
                ended = self.session() => ended,
                () = sender.closed() => return,
            };
            let Err(Ended::Lost(status)) = ended else { return };
            if self.send("lost", &Failure::from(status)).await.is_err() {
                return;
            }
            // A session that lasted has worked.
            pause = if started.elapsed() > longest { first } else { longest.min(pause * 2) };
            tokio::select! {
                () = time::sleep(pause) => {}
                () = sender.closed() => return,
            }
        }
    }

    /// From one connection to its end.
    async fn session(&mut self) -> Result<(), Ended> {
        let (mut stream, rows) = self.begin().await?;
        let changes = self.rows.replace(rows);
        self.send_changes(changes).await?;
        self.send("live", &()).await?;
        let mut agenda = Agenda::new(Instant::now());
        // Events do not wait for a read that takes long.
        let mut reading: OptionFuture<BoxFuture<'static, Result<Fresh, Status>>> = None.into();
        let mut started = Instant::now();
        let mut is_reading = false;
        loop {
            tokio::select! {
                message = stream.message() => {
                    let Some(event) = message?.ok_or_else(ended)?.event else { continue };
                    let event = Event::from(event);
                    agenda.mark(&event, Instant::now());
                    self.send("event", &event).await?;
                }
                Some(fresh) = &mut reading, if is_reading => {
                    is_reading = false;
                    let fresh = fresh?;
                    if matches!(fresh, Fresh::All(_)) {
                        agenda.all_read(started.elapsed(), Instant::now());
                    }
                    self.update(fresh).await?;
                }
                () = time::sleep_until(agenda.next()), if !is_reading => {
                    (started, is_reading) = (Instant::now(), true);
                    reading = Some(self.reader().read(agenda.take(started)).boxed()).into();
                }
            }
        }
    }

    /// Sends what differs in rows that were read.
    async fn update(&mut self, fresh: Fresh) -> Result<(), Ended> {
        let changes = match fresh {
            Fresh::All(rows) => vec![self.rows.replace(rows)],
            Fresh::Some(rows) => {
                rows.into_iter().map(|(target, row)| self.rows.update(&target, row)).collect()
            }
        };
        for changes in changes {
            if !changes.is_empty() {
                self.send_changes(changes).await?;
            }
        }
        Ok(())
    }

    /// A stream of events, and all rows.
    async fn begin(&self) -> Result<(Events, Vec<Row>), Status> {
        match self.watch(true).await {
            Err(status) if LACKS_KIND.contains(&&*reason(&status)) => {
                let (events, _) = self.watch(false).await?;
                Ok((events, self.reader().all().await?))
            }
            begun => begun,
        }
    }

    /// A stream of events, and the rows of its snapshot.
    async fn watch(&self, include_unmanaged: bool) -> Result<(Events, Vec<Row>), Status> {
        let request = proto::WatchDeploymentsRequest {
            namespace: self.scope.namespace.clone(),
            kinds: ALL_KINDS.map(i32::from).to_vec(),
            include_unmanaged,
            ..Default::default()
        };
        let mut stream = self.connection.deployments().watch_deployments(request).await?.into_inner();
        let mut snapshot = Vec::new();
        loop {
            let message = time::timeout(SNAPSHOT_DEADLINE, stream.message()).await;
            let message = message.map_err(|_| Status::deadline_exceeded("the snapshot takes too long"))??;
            let message = message.ok_or_else(ended)?;
            snapshot.extend(message.rows.into_iter().map(|row| Row::from(calls::answer(row))));
            if message.snapshot_complete {
                return Ok((stream, snapshot));
            }
        }
    }

    fn reader(&self) -> Reader {
        Reader { connection: self.connection.clone(), scope: self.scope.clone() }
    }

    async fn send_changes(&self, changes: Changes) -> Result<(), Ended> {
        for piece in changes.pieces() {
            self.send("rows", &piece).await?;
        }
        Ok(())
    }

    async fn send(&self, name: &str, data: &impl Serialize) -> Result<(), Ended> {
        let message = format!("event: {name}\ndata: {}\n\n", json(data));
        self.sender.send(message).await.map_err(|_| Ended::Gone)
    }
}

fn ended() -> Status {
    Status::unavailable("the server has ended the stream")
}

/// Rows that were read.
enum Fresh {
    All(Vec<Row>),
    /// A workload without a row is not listed any more.
    Some(Vec<(Target, Option<Row>)>),
}

/// Reads rows.
struct Reader {
    connection: Connection,
    scope: Scope,
}

impl Reader {
    /// Reads the rows of these workloads, or all.
    async fn read(self, due: Option<BTreeSet<Target>>) -> Result<Fresh, Status> {
        if let Some(due) = due {
            let reads = due.into_iter().map(async |target| {
                let row = self.row(&target).await?;
                Ok((target, row))
            });
            return join_all(reads).await.into_iter().collect::<Result<_, _>>().map(Fresh::Some);
        }
        self.all().await.map(Fresh::All)
    }

    async fn all(&self) -> Result<Vec<Row>, Status> {
        self.rows(&self.scope.namespace, "").await
    }

    async fn row(&self, target: &Target) -> Result<Option<Row>, Status> {
        let rows = self.rows(&target.namespace, &target.name).await?;
        Ok(rows.into_iter().find(|row| row.kind == target.kind))
    }

    /// Rows of a namespace, or of all, with this name, or with any.
    async fn rows(&self, namespace: &str, name: &str) -> Result<Vec<Row>, Status> {
        let request = proto::ListDeploymentsRequest {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            kinds: ALL_KINDS.map(i32::from).to_vec(),
            include_unmanaged: true,
            ..Default::default()
        };
        let rows = calls::list(&self.connection, request, &LACKS_KIND).await?;
        Ok(rows.into_iter().map(Row::from).collect())
    }
}
