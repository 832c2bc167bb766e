//! ListEvents: what happened, newest first.

use replica_count_api::proto;
use replica_count_api::request::EventsRequest;
use replica_count_core::authorization::Access;

use super::context::Context;
use super::in_flight::InFlight;
use super::status::Refusal;

/// What the answer takes for each byte of an entry, as a message and encoded.
const BYTES_PER_BYTE: usize = 2;

/// Creates the answer. Its memory is reserved on `in_flight` first.
pub(super) fn events(
    context: &Context,
    request: &EventsRequest,
    in_flight: Option<&InFlight>,
) -> Result<proto::ListEventsResponse, Refusal> {
    let page = context.history.read(|history| {
        let EventsRequest { filter, before, page_size } = request;
        history.page(filter, *before, *page_size)
    });
    if let Some(in_flight) = in_flight {
        in_flight.reserve(page.entries.iter().map(|entry| entry.bytes() * BYTES_PER_BYTE).sum())?;
    }
    Ok(proto::ListEventsResponse {
        events: page.entries.iter().map(|entry| (&**entry).into()).collect(),
        next_page_token: page.before.map(|id| id.to_string()).unwrap_or_default(),
    })
}

/// What the caller must be allowed to do. Rights do not depend on the kind.
pub(super) fn access(request: &EventsRequest) -> Access<'_> {
    let filter = &request.filter;
    match (filter.namespace.as_deref(), filter.name.as_deref()) {
        (Some(namespace), Some(name)) => Access::GetEvents { namespace, name },
        (namespace, _) => Access::List(namespace),
    }
}
