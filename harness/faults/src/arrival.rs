//! Requests of the server, told apart: by their ordinal, and by how many of the same kind came before.

use std::collections::HashMap;

use replica_count_testbed::fault_proxy::Kind;
use serde::{Deserialize, Serialize};

/// What the server watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Objects {
    /// Deployments, and one of them.
    Deployments,
    /// Autoscalers.
    Autoscalers,
}

/// A request that has arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// How many requests came before it.
    pub ordinal: u64,
    /// Its kind.
    pub kind: Kind,
    /// What it is for, and how many of its kind came before it for such.
    pub place: Option<(Objects, u64)>,
    /// What it is for: the same in each round, whatever its namespace is called.
    pub object: String,
    /// How many of its kind came before it for the same object.
    pub after_of_object: u64,
}

impl Objects {
    /// What a path is about.
    pub(crate) fn of(path: &str) -> Option<Self> {
        if path.contains("/deployments") {
            Some(Self::Deployments)
        } else if path.contains("/horizontalpodautoscalers") {
            Some(Self::Autoscalers)
        } else {
            None
        }
    }

    /// The word for them in names of cases, before that for the kind of request.
    pub(crate) fn prefix(self) -> &'static str {
        match self {
            Self::Deployments => "",
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
    /// Takes note of a request.
    pub(crate) fn arrive(&mut self, ordinal: u64, kind: Kind, path: &str) -> Arrival {
        let object = object(path);
        let objects = Objects::of(path);
        let place =
            objects.map(|objects| (objects, one_more(self.for_objects.entry((kind, objects)).or_default())));
        let after_of_object = one_more(self.for_object.entry((kind, object.clone())).or_default());
        Arrival { ordinal, kind, place, object, after_of_object }
    }
}

/// Counts one more, and returns how many there were.
fn one_more(count: &mut u64) -> u64 {
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
    fn the_namespace_makes_no_difference() {
        let mut arrivals = Arrivals::default();
        let mut scale = |ordinal, namespace: &str, name: &str| {
            let path = format!("/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale");
            let arrival = arrivals.arrive(ordinal, Kind::Patch, &path);
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
        let listed = arrivals.arrive(3, Kind::List, autoscalers);
        assert_eq!((&*listed.object, listed.place), (autoscalers, Some((Objects::Autoscalers, 0))));
        assert_eq!(arrivals.arrive(4, Kind::Other, "/version").place, None);
    }
}
