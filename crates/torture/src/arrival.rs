//! Requests of the server, told apart: by their ordinal, and by how many of the same kind came before.

use std::collections::HashMap;

use replica_count_testbed::fault_proxy::Kind;

/// A request that has arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// How many requests came before it.
    pub ordinal: u64,
    /// Its kind.
    pub kind: Kind,
    /// How many of its kind came before it for Deployments, if it is for them.
    pub after: Option<u64>,
    /// What it is for: the same in each round, whatever its namespace is called.
    pub object: String,
    /// How many of its kind came before it for the same object.
    pub after_of_object: u64,
}

/// All requests so far.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    for_deployments: HashMap<Kind, u64>,
    for_objects: HashMap<(Kind, String), u64>,
}

impl Arrivals {
    /// Takes note of a request.
    pub(crate) fn arrive(&mut self, ordinal: u64, kind: Kind, path: &str) -> Arrival {
        let object = object(path);
        let after =
            path.contains("/deployments").then(|| one_more(self.for_deployments.entry(kind).or_default()));
        let after_of_object = one_more(self.for_objects.entry((kind, object.clone())).or_default());
        Arrival { ordinal, kind, after, object, after_of_object }
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
            (arrival.object, arrival.after, arrival.after_of_object)
        };
        assert_eq!(scale(0, "a", "web"), ("deployments/web/scale".to_owned(), Some(0), 0));
        assert_eq!(scale(1, "a", "api"), ("deployments/api/scale".to_owned(), Some(1), 0));
        assert_eq!(scale(2, "b", "web"), ("deployments/web/scale".to_owned(), Some(2), 1));
        let autoscalers = "/apis/autoscaling/v2/horizontalpodautoscalers";
        let listed = arrivals.arrive(3, Kind::List, autoscalers);
        assert_eq!((listed.object.as_str(), listed.after, listed.after_of_object), (autoscalers, None, 0));
    }
}
