//! Identifies requests of the server by their ordinal, and by how many of the same kind came before.

use std::collections::HashMap;

use replica_count_testbed::fault_proxy::Kind;
use serde::{Deserialize, Serialize};

/// The objects that the server watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Objects {
    /// Deployments, or a single one.
    Deployments,
    /// StatefulSets, or a single one.
    StatefulSets,
    /// Autoscalers.
    Autoscalers,
}

/// A request that has arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The number of requests before it.
    pub ordinal: u64,
    /// Its kind.
    pub kind: Kind,
    /// Its kind of objects, and the number of requests of the same kind for these objects before it.
    pub place: Option<(Objects, u64)>,
    /// Its object, without the namespace, so it is the same in each round.
    pub object: String,
    /// The number of requests of the same kind for the same object before it.
    pub after_of_object: u64,
}

impl Objects {
    /// The kind of objects in a path.
    pub(crate) fn of(path: &str) -> Option<Self> {
        if path.contains("/deployments") {
            Some(Self::Deployments)
        } else if path.contains("/statefulsets") {
            Some(Self::StatefulSets)
        } else if path.contains("/horizontalpodautoscalers") {
            Some(Self::Autoscalers)
        } else {
            None
        }
    }

    /// The prefix in case names, before the kind of request.
    pub(crate) fn prefix(self) -> &'static str {
        match self {
            Self::Deployments => "",
            Self::StatefulSets => "stateful sets: ",
            Self::Autoscalers => "autoscalers: ",
        }
    }
}

/// All requests so far.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    for_objects: HashMap<(Kind, Objects), u64>,
    for_object: HashMap<(Kind, String), u64>,
}

impl Arrivals {
    /// Records a request.
    pub(crate) fn record(&mut self, ordinal: u64, kind: Kind, path: &str) -> Arrival {
        let object = object(path);
        let objects = Objects::of(path);
        let place =
            objects.map(|objects| (objects, increment(self.for_objects.entry((kind, objects)).or_default())));
        let after_of_object = increment(self.for_object.entry((kind, object.clone())).or_default());
        Arrival { ordinal, kind, place, object, after_of_object }
    }
}

/// Increments a count, and returns the old value.
fn increment(count: &mut u64) -> u64 {
    *count += 1;
    *count - 1
}

fn object(path: &str) -> String {
    let named = path.split_once("/namespaces/").and_then(|(_, rest)| rest.split_once('/'));
    named.map_or(path, |(_, object)| object).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_namespace_is_ignored() {
        let mut arrivals = Arrivals::default();
        let mut scale = |ordinal, namespace: &str, name: &str| {
            let path = format!("/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale");
            let arrival = arrivals.record(ordinal, Kind::Patch, &path);
            (arrival.object, arrival.place, arrival.after_of_object)
        };
        assert_eq!(
            scale(0, "a", "web"),
            ("deployments/web/scale".to_owned(), Some((Objects::Deployments, 0)), 0)
        );
        assert_eq!(
            scale(1, "a", "api"),
            ("deployments/api/scale".to_owned(), Some((Objects::Deployments, 1)), 0)
        );
        assert_eq!(
            scale(2, "b", "web"),
            ("deployments/web/scale".to_owned(), Some((Objects::Deployments, 2)), 1)
        );
        let autoscalers = "/apis/autoscaling/v2/horizontalpodautoscalers";
        let listed = arrivals.record(3, Kind::List, autoscalers);
        assert_eq!((&*listed.object, listed.place), (autoscalers, Some((Objects::Autoscalers, 0))));
        assert_eq!(arrivals.record(4, Kind::Other, "/version").place, None);
    }
}
