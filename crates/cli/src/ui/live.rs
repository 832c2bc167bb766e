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
use replica_count_client::pages::Pages;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::{self, Sender};
use tokio::time::{self, Instant};
use tonic::Status;

use super::agenda::Agenda;
use super::failure::{Failure, json};
use super::page::answer;
use super::rows::{Changes, Rows};
use super::shapes::{Event, KINDS, Row, Target};

/// Messages that wait for the page.
const QUEUE: usize = 64;
/// How long the server may take for the next message of the snapshot.
const SNAPSHOT_DEADLINE: Duration = Duration::from_secs(30);
/// The first and the longest pause before connecting again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(3));

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
        let mut stream = self.connection.deployments().watch_deployments(self.request()).await?.into_inner();
        let mut snapshot = Vec::new();
        loop {
            let message = time::timeout(SNAPSHOT_DEADLINE, stream.message()).await;
            let message = message.map_err(|_| Status::deadline_exceeded("the snapshot takes too long"))??;
            let message = message.ok_or_else(ended)?;
            snapshot.extend(message.rows.into_iter().map(Row::from));
            if message.snapshot_complete {
                break;
            }
        }
        let changes = self.rows.replace(snapshot);
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
                    let reader = Reader { connection: self.connection.clone(), scope: self.scope.clone() };
                    reading = Some(reader.read(agenda.take(started)).boxed()).into();
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

    fn request(&self) -> proto::WatchDeploymentsRequest {
        proto::WatchDeploymentsRequest {
            namespace: self.scope.namespace.clone(),
            kinds: KINDS.map(i32::from).to_vec(),
            include_unmanaged: true,
            ..Default::default()
        }
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
        let mut pages = Pages::new(&self.connection, list(&self.scope.namespace, ""));
        let mut rows = Vec::new();
        while let Some(page) = pages.next().await? {
            rows.extend(page.deployments_replica_config.into_iter().map(Row::from));
        }
        Ok(Fresh::All(rows))
    }

    async fn row(&self, target: &Target) -> Result<Option<Row>, Status> {
        let request = list(&target.namespace, &target.name);
        let answer = self.connection.deployments().list_deployments(request).await?.into_inner();
        let mut rows = answer.deployments_replica_config.into_iter().map(Row::from);
        Ok(rows.find(|row| row.kind == target.kind))
    }
}

/// Rows of a namespace, or of all, with this name, or with any.
fn list(namespace: &str, name: &str) -> proto::ListDeploymentsRequest {
    proto::ListDeploymentsRequest {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        kinds: KINDS.map(i32::from).to_vec(),
        include_unmanaged: true,
        ..Default::default()
    }
}
