//! The page: files that `scripts/build-page.sh` makes from `page/`, and the headers that protect it.

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Response, StatusCode, header};

/// A file of the page.
#[derive(Clone, Copy, Debug)]
pub(super) struct File {
    /// Its path on the server.
    pub(super) path: &'static str,
    content_type: &'static str,
    text: &'static str,
}

/// The page itself, which loads the other files.
pub(super) const PAGE: File = File {
    path: "/",
    content_type: "text/html; charset=utf-8",
    text: include_str!("../../page/built/index.html"),
};

/// What it loads.
pub(super) const FILES: [File; 3] = [
    File {
        path: "/page.js",
        content_type: "text/javascript; charset=utf-8",
        text: include_str!("../../page/built/page.js"),
    },
    File {
        path: "/page.css",
        content_type: "text/css; charset=utf-8",
        text: include_str!("../../page/built/page.css"),
    },
    File {
        path: "/icon.svg",
        content_type: "image/svg+xml",
        text: include_str!("../../page/built/icon.svg"),
    },
];

/// The page may load its own files and call its own server, and nothing else. Nobody may show it in a frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
     trusted-types 'none'";

/// Headers of every answer.
const HEADERS: [(HeaderName, &str); 7] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    // The address of the page holds the token.
    (header::REFERRER_POLICY, "no-referrer"),
    // A new version of this program may serve another page on the same port.
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

impl File {
    /// The file as an answer.
    pub(super) fn answer(&self) -> Response<Body> {
        answer(StatusCode::OK, self.content_type, self.text)
    }
}

/// An answer with a body.
pub(super) fn answer(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Body>,
) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Adds the headers that protect the page.
pub(super) fn protect(mut response: Response<Body>) -> Response<Body> {
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
