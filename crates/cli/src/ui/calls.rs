//! The calls of the page's script: JSON in, one call of the server's API, JSON out.

use jiff::Timestamp;
use replica_count_api::proto;
use replica_count_client::{Connection, Deployments};
use serde::{Deserialize, Serialize};
use tonic::{Code, Status};

use super::drifts::Sum;
use super::failure::{Failure, json};
use super::shapes::{Detail, Event, Target};
use crate::output::words::millis;
use crate::undo::{CHANGES, LAST_CHANGES, Step, undo};

/// Events on a page of the history.
const PAGE: i32 = 1000;
/// Pages of drifts that are added up.
const MAX_PAGES: usize = 20;
/// Events that the page begins with.
const RECENT: i32 = 100;

/// Which events.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct EventsRequest {
    target: Target,
    #[serde(default)]
    page_token: String,
}

/// The newest events of a namespace, or of all if it is empty.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RecentRequest {
    namespace: String,
}

/// Drifts since a time, in milliseconds since 1970.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DriftsRequest {
    namespace: String,
    since: i64,
}

/// A new count.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SetRequest {
    target: Target,
    replicas: i32,
    reason: String,
    generation: i64,
    dry_run: bool,
    /// When a temporary count ends, in milliseconds since 1970.
    hold_until: Option<i64>,
    #[serde(default)]
    allow_missing: bool,
    #[serde(default)]
    allow_autoscaled: bool,
}

/// Whether a setting is enforced.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct EnforcementRequest {
    target: Target,
    is_enforced: bool,
    /// When enforcement resumes, in milliseconds since 1970.
    until: Option<i64>,
    generation: i64,
}

/// A setting that is not wanted any more.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DeleteRequest {
    target: Target,
    generation: i64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct EventsAnswer {
    events: Vec<Event>,
    next_page_token: String,
}

impl From<proto::ListEventsResponse> for EventsAnswer {
    fn from(answer: proto::ListEventsResponse) -> Self {
        let events = answer.events.into_iter().map(Event::from).collect();
        Self { events, next_page_token: answer.next_page_token }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct SetAnswer {
    old_replicas: Option<i32>,
    new_replicas: Option<i32>,
    generation: i64,
    hold_until: Option<i64>,
    afterwards: Option<i32>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct UndoAnswer {
    #[serde(flatten)]
    step: Step,
    /// The change that is undone.
    change: Option<Event>,
}

/// Makes the call `name` with `body`. `None`: there is no such call.
pub(super) async fn call(
    connection: &Connection,
    name: &str,
    body: &[u8],
) -> Option<Result<String, Failure>> {
    let client = connection.deployments();
    Some(match name {
        "target" => target(client, body).await,
        "events" => events(client, body).await,
        "recent" => recent(client, body).await,
        "drifts" => drifts(client, body).await,
        "set" => set(client, body).await,
        "enforcement" => enforcement(client, body).await,
        "delete" => delete(client, body).await,
        "undo" => plan_undo(client, body).await,
        _ => return None,
    })
}

/// Reads the body of a call.
pub(super) fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Failure> {
    serde_json::from_slice(body)
        .map_err(|error| Failure::invalid(format!("the request is not valid: {error}")))
}

async fn target(client: Deployments, body: &[u8]) -> Result<String, Failure> {
    Ok(json(&Detail::from(get(client, parse(body)?).await?)))
}

async fn get(mut client: Deployments, target: Target) -> Result<proto::GetDeploymentResponse, Status> {
    let (kind, other_kind) = target.kind();
    let request = proto::GetDeploymentRequest {
        name: target.name,
        namespace: target.namespace,
        kind: kind.into(),
        other_kind,
    };
    Ok(client.get_deployment(request).await?.into_inner())
}

fn events_of(target: Target) -> proto::ListEventsRequest {
    let (kind, _) = target.kind();
    proto::ListEventsRequest {
        name: target.name,
        namespace: target.namespace,
        kind: Some(kind.into()),
        page_size: PAGE,
        ..Default::default()
    }
}

async fn events(mut client: Deployments, body: &[u8]) -> Result<String, Failure> {
    let EventsRequest { target, page_token } = parse(body)?;
    let request = proto::ListEventsRequest { page_token, ..events_of(target) };
    Ok(json(&EventsAnswer::from(client.list_events(request).await?.into_inner())))
}

async fn recent(mut client: Deployments, body: &[u8]) -> Result<String, Failure> {
    let RecentRequest { namespace } = parse(body)?;
    let request = proto::ListEventsRequest { namespace, page_size: RECENT, ..Default::default() };
    Ok(json(&EventsAnswer::from(client.list_events(request).await?.into_inner())))
}

async fn drifts(mut client: Deployments, body: &[u8]) -> Result<String, Failure> {
    let DriftsRequest { namespace, since } = parse(body)?;
    let mut request = proto::ListEventsRequest {
        namespace,
        since: Some(timestamp(since)?),
        types: vec![proto::EventType::EventDrifted.into()],
        page_size: PAGE,
        ..Default::default()
    };
    let mut sum = Sum::default();
    for _ in 0..MAX_PAGES {
        let page = client.list_events(request.clone()).await?.into_inner();
        page.events.into_iter().for_each(|event| sum.add(event.into()));
        if page.next_page_token.is_empty() {
            return Ok(json(&sum.finish(false)));
        }
        request.page_token = page.next_page_token;
    }
    Ok(json(&sum.finish(true)))
}

async fn set(mut client: Deployments, body: &[u8]) -> Result<String, Failure> {
    let request: SetRequest = parse(body)?;
    let (kind, _) = request.target.kind();
    let request = proto::SetDeploymentRequest {
        name: request.target.name,
        namespace: request.target.namespace,
        kind: kind.into(),
        replicas: Some(request.replicas),
        expected_generation: Some(request.generation),
        dry_run: request.dry_run,
        reason: request.reason,
        allow_missing: request.allow_missing,
        allow_autoscaled: request.allow_autoscaled,
        replace_unknown: false,
        hold_until: request.hold_until.map(timestamp).transpose()?,
    };
    let answer = client.set_deployment(request).await?.into_inner();
    Ok(json(&SetAnswer {
        old_replicas: answer.old_replicas,
        new_replicas: answer.new_replicas,
        generation: answer.generation,
        hold_until: millis(answer.hold_until.as_ref()),
        afterwards: answer.replicas_afterwards,
    }))
}

async fn enforcement(mut client: Deployments, body: &[u8]) -> Result<String, Failure> {
    let request: EnforcementRequest = parse(body)?;
    let (kind, _) = request.target.kind();
    let mode =
        if request.is_enforced { proto::EnforcementMode::Enforce } else { proto::EnforcementMode::Ignore };
    let request = proto::SetEnforcementRequest {
        name: request.target.name,
        namespace: request.target.namespace,
        kind: kind.into(),
        mode: mode.into(),
        until: request.until.map(timestamp).transpose()?,
        expected_generation: Some(request.generation),
    };
    client.set_enforcement(request).await?;
    Ok("{}".to_owned())
}

async fn delete(mut client: Deployments, body: &[u8]) -> Result<String, Failure> {
    let DeleteRequest { target, generation } = parse(body)?;
    let (kind, other_kind) = target.kind();
    let request = proto::DeleteDeploymentRequest {
        name: target.name,
        namespace: target.namespace,
        kind: kind.into(),
        other_kind,
        expected_generation: Some(generation),
    };
    client.delete_deployment(request).await?;
    Ok("{}".to_owned())
}

async fn plan_undo(mut client: Deployments, body: &[u8]) -> Result<String, Failure> {
    let target: Target = parse(body)?;
    let current = match get(client.clone(), target.clone()).await {
        Ok(current) => Some(current),
        Err(status) if status.code() == Code::NotFound => None,
        Err(status) => return Err(status.into()),
    };
    let types = CHANGES.map(i32::from).to_vec();
    let request = proto::ListEventsRequest { types, page_size: LAST_CHANGES.into(), ..events_of(target) };
    let answer = client.list_events(request).await?.into_inner();
    let step = undo(&answer.events, current.as_ref(), Timestamp::now().as_millisecond());
    Ok(json(&UndoAnswer { step, change: answer.events.into_iter().next().map(Event::from) }))
}

/// Milliseconds since 1970 as a time of the contract.
fn timestamp(millis: i64) -> Result<prost_types::Timestamp, Failure> {
    match Timestamp::from_millisecond(millis) {
        Ok(time) => Ok(replica_count_api::response::timestamp(time)),
        Err(_) => Err(Failure::invalid(format!("{millis} is no time"))),
    }
}
