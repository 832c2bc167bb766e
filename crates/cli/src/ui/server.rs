//! The local server: every request passes [`Access`] first.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, Response, StatusCode, header};
use replica_count_client::Connection;
use serde::Serialize;
use tokio::net::TcpListener;

use super::access::{Access, Opened, Part, Refusal};
use super::calls::{call, parse};
use super::failure::{Failure, json};
use super::live;
use super::page::{self, FILES, PAGE, answer};

/// The longest body of a request, in bytes.
const MAX_BODY: usize = 16 << 10;

/// What the page shows about where it comes from.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct About {
    /// The version of this program.
    pub(super) version: &'static str,
    /// The server that it calls, for people.
    pub(super) server: String,
    /// The user of the client certificate. Empty: it has no name.
    pub(super) user: String,
    /// The namespace that the page begins with. Empty: all.
    pub(super) namespace: String,
    /// The namespace of the context.
    pub(super) own_namespace: String,
}

/// What requests need.
#[derive(Debug)]
pub(super) struct Site {
    /// Who may use it.
    pub(super) access: Access,
    /// The user's connection, through which everything goes.
    pub(super) connection: Connection,
    /// About this program.
    pub(super) about: About,
}

/// Serves the page until `listener` fails.
///
/// # Errors
/// No more connections can be accepted.
pub(super) async fn serve(listener: TcpListener, site: Site) -> std::io::Result<()> {
    axum::serve(listener, router(site)).await
}

/// The one route.
pub(super) fn router(site: Site) -> Router {
    Router::new().fallback(respond).with_state(Arc::new(site))
}

async fn respond(State(site): State<Arc<Site>>, request: Request) -> Response<Body> {
    page::protect(match route(&site, request).await {
        Ok(response) => response,
        Err(refusal) => answer(StatusCode::FORBIDDEN, "text/plain; charset=utf-8", format!("{refusal}\n")),
    })
}

async fn route(site: &Site, request: Request) -> Result<Response<Body>, Refusal> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path();
    let call_name = path.strip_prefix("/api/");
    let part = match call_name {
        Some(_) => Part::Api,
        None if path == PAGE.path => Part::Page,
        None => Part::File,
    };
    site.access.check(part, &parts.method, &parts.headers)?;
    if parts.method != if part == Part::Api { Method::POST } else { Method::GET } {
        return Ok(text(StatusCode::METHOD_NOT_ALLOWED));
    }
    Ok(match call_name {
        Some(name) => {
            let content_type = parts.headers.get(header::CONTENT_TYPE);
            if content_type.is_none_or(|content_type| content_type != "application/json") {
                return Ok(text(StatusCode::UNSUPPORTED_MEDIA_TYPE));
            }
            match to_bytes(body, MAX_BODY).await {
                Ok(body) => api(site, name, &body).await,
                Err(_) => text(StatusCode::PAYLOAD_TOO_LARGE),
            }
        }
        None if part == Part::Page => match site.access.open(&parts.uri)? {
            Opened::Page => PAGE.answer(),
            Opened::Ticket => redirect(&site.access.path()),
        },
        None => match FILES.iter().find(|file| file.path == path) {
            Some(file) => file.answer(),
            None => text(StatusCode::NOT_FOUND),
        },
    })
}

async fn api(site: &Site, name: &str, body: &[u8]) -> Response<Body> {
    let outcome = match name {
        "about" => Some(Ok(json(&site.about))),
        "stream" => match parse(body) {
            Ok(scope) => return live::stream(site.connection.clone(), scope),
            Err(failure) => Some(Err(failure)),
        },
        name => call(&site.connection, name, body).await,
    };
    match outcome {
        Some(Ok(body)) => answer(StatusCode::OK, "application/json", body),
        Some(Err(failure)) => Failure::answer(&failure),
        None => text(StatusCode::NOT_FOUND),
    }
}

/// An answer that only says its status.
fn text(status: StatusCode) -> Response<Body> {
    answer(status, "text/plain; charset=utf-8", format!("{status}\n"))
}

fn redirect(path: &str) -> Response<Body> {
    let mut response = text(StatusCode::SEE_OTHER);
    let location = HeaderValue::from_str(path).expect("a token has only hexadecimal digits");
    response.headers_mut().insert(header::LOCATION, location);
    response
}

#[cfg(test)]
mod tests;
