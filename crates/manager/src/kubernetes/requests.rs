//! Counts the requests to the API server.

use http::{Method, Request, StatusCode, Uri};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// The resource of a request that is not for objects, such as `/livez`.
const NO_RESOURCE: &str = "none";
/// The code of a request without an answer.
const NO_ANSWER: &str = "none";

/// What a request is, in the words of RBAC.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Asked {
    verb: &'static str,
    /// The resource, with its subresource. There are few, because no client chooses them.
    resource: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    verb: &'static str,
    resource: String,
    code: String,
}

/// Counts of requests to the API server. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct ApiRequests(Family<Labels, Counter>);

impl ApiRequests {
    /// Registers the metric.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "kubernetes_requests",
            "Requests to the API server, by the HTTP status of the answer, or `none` without one; a watch counts when it \
             begins",
            self.0.clone(),
        );
    }

    /// Counts a request by the status of its answer. `None`: there was none.
    pub(super) fn count(&self, Asked { verb, resource }: Asked, status: Option<StatusCode>) {
        let code = status.map_or(NO_ANSWER.to_owned(), |status| status.as_str().to_owned());
        self.0.get_or_create_owned(&Labels { verb, resource, code }).inc();
    }
}

impl Asked {
    /// What a request asks for.
    pub(super) fn of<B>(request: &Request<B>) -> Self {
        let (resource, is_named) = resource(request.uri());
        Self { verb: verb(request.method(), request.uri(), is_named), resource }
    }
}

fn verb(method: &Method, uri: &Uri, is_named: bool) -> &'static str {
    let is_watch =
        || uri.query().unwrap_or_default().split('&').any(|part| part == "watch=true" || part == "watch=1");
    match *method {
        Method::GET if is_watch() => "watch",
        Method::GET if is_named => "get",
        Method::GET => "list",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "other",
    }
}

/// The resource in a path of the API, with its subresource, and whether an object is named.
fn resource(uri: &Uri) -> (String, bool) {
    let mut parts = uri.path().split('/').filter(|part| !part.is_empty());
    let is_object = match parts.next() {
        Some("api") => parts.next().is_some(),
        Some("apis") => parts.next().and(parts.next()).is_some(),
        _ => false,
    };
    let rest: Vec<&str> = parts.collect();
    let rest = match &rest[..] {
        ["namespaces", _, rest @ ..] if !rest.is_empty() => rest,
        rest => rest,
    };
    match rest {
        [resource] if is_object => ((*resource).to_owned(), false),
        [resource, _] if is_object => ((*resource).to_owned(), true),
        [resource, _, sub] if is_object => (format!("{resource}/{sub}"), true),
        _ => (NO_RESOURCE.to_owned(), true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_named_in_the_words_of_rbac() {
        let check = |method: Method, uri: &str, expected: (&str, &str)| {
            let request = Request::builder().method(method).uri(uri).body(()).unwrap();
            let Asked { verb, resource } = Asked::of(&request);
            assert_eq!((verb, resource.as_str()), expected, "{uri}");
        };
        check(Method::GET, "/apis/apps/v1/deployments?limit=500", ("list", "deployments"));
        check(Method::GET, "/apis/apps/v1/deployments?watch=true&x=1", ("watch", "deployments"));
        check(Method::GET, "/apis/apps/v1/namespaces/shop/deployments", ("list", "deployments"));
        check(Method::GET, "/apis/apps/v1/namespaces/shop/deployments/web", ("get", "deployments"));
        let scale = "/apis/apps/v1/namespaces/shop/statefulsets/db/scale?fieldManager=x";
        check(Method::PATCH, scale, ("patch", "statefulsets/scale"));
        check(Method::PUT, "/apis/coordination.k8s.io/v1/namespaces/a/leases/b", ("update", "leases"));
        check(
            Method::POST,
            "/apis/authorization.k8s.io/v1/subjectaccessreviews",
            ("create", "subjectaccessreviews"),
        );
        check(Method::DELETE, "/api/v1/namespaces/shop/pods/x", ("delete", "pods"));
        check(Method::GET, "/api/v1/namespaces/shop", ("get", "namespaces"));
        check(Method::GET, "/api/v1/namespaces", ("list", "namespaces"));
        check(Method::GET, "/livez?timeout=1s", ("get", "none"));
        check(Method::GET, "/apis/apps/v1", ("get", "none"));
        check(Method::GET, "/version", ("get", "none"));
        check(Method::GET, "/", ("get", "none"));
    }

    #[test]
    fn an_answer_counts_with_its_status_and_a_missing_one_without() {
        let requests = ApiRequests::default();
        let request = Request::builder().uri("/apis/apps/v1/deployments").body(()).unwrap();
        for status in [Some(StatusCode::OK), Some(StatusCode::TOO_MANY_REQUESTS), None, None] {
            requests.count(Asked::of(&request), status);
        }
        let count = |code: &str| {
            let labels = Labels { verb: "list", resource: "deployments".to_owned(), code: code.to_owned() };
            requests.0.get(&labels).map_or(0, |counter| counter.get())
        };
        assert_eq!([count("200"), count("429"), count("none")], [1, 1, 2]);
    }
}
