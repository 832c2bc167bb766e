//! Classifies requests, because faults are chosen by kind.

use http::{Method, Uri};
use serde::{Deserialize, Serialize};

/// The kind of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A paginated listing.
    List,
    /// A listing streamed as events.
    ListAsStream,
    /// A watch from a resource version.
    Watch,
    /// A read of one object.
    Get,
    /// A write.
    Patch,
    /// Anything else: discovery, versions and Events.
    Other,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 6] =
        [Self::List, Self::ListAsStream, Self::Watch, Self::Get, Self::Patch, Self::Other];

    /// The kind of a request.
    pub fn of(method: &Method, uri: &Uri) -> Self {
        let query = uri.query().unwrap_or_default();
        let has = |parameter: &str| query.split('&').any(|found| found == parameter);
        match *method {
            Method::PATCH if !uri.path().starts_with("/apis/events.k8s.io/") => Self::Patch,
            Method::PUT if uri.path().ends_with("/scale") => Self::Patch,
            Method::GET if has("watch=true") && has("sendInitialEvents=true") => Self::ListAsStream,
            Method::GET if has("watch=true") => Self::Watch,
            Method::GET => Self::of_read(uri.path()),
            _ => Self::Other,
        }
    }

    /// Whether the answer is a stream of events.
    pub fn is_stream(self) -> bool {
        matches!(self, Self::ListAsStream | Self::Watch)
    }

    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::ListAsStream => "list as stream",
            Self::Watch => "watch",
            Self::Get => "get",
            Self::Patch => "patch",
            Self::Other => "other",
        }
    }

    fn of_read(path: &str) -> Self {
        let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
        match segments[..] {
            ["apis", _, _, "namespaces", _, _] | ["apis", _, _, _] => Self::List,
            ["apis", _, _, "namespaces", _, _, _] | ["apis", _, _, _, _] => Self::Get,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_classified() {
        let cases = [
            ("GET", "/apis/apps/v1/deployments?limit=500", Kind::List),
            ("GET", "/apis/apps/v1/namespaces/a/deployments", Kind::List),
            ("GET", "/apis/apps/v1/namespaces/a/deployments/web", Kind::Get),
            ("GET", "/apis/apps/v1/deployments?watch=true&timeoutSeconds=10&resourceVersion=7", Kind::Watch),
            ("GET", "/apis/apps/v1/deployments?watch=true&sendInitialEvents=true", Kind::ListAsStream),
            ("PATCH", "/apis/apps/v1/namespaces/a/deployments/web/scale?fieldManager=b", Kind::Patch),
            ("PUT", "/apis/apps/v1/namespaces/a/deployments/web/scale?fieldManager=b", Kind::Patch),
            ("PUT", "/apis/coordination.k8s.io/v1/namespaces/a/leases/b", Kind::Other),
            ("PATCH", "/apis/events.k8s.io/v1/namespaces/a/events/web.1", Kind::Other),
            ("GET", "/version", Kind::Other),
            ("POST", "/apis/apps/v1/namespaces/a/deployments", Kind::Other),
        ];
        for (method, uri, expected) in cases {
            let found = Kind::of(&method.parse().unwrap(), &uri.parse().unwrap());
            assert_eq!(found, expected, "{method} {uri}");
        }
    }
}
