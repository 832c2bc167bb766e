//! Metrics in the text format, read.

use std::collections::{BTreeMap, BTreeSet};

use crate::server::{Flags, scrape};

/// A metric, with all its samples.
#[derive(Debug, PartialEq)]
pub(crate) struct Family {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) help: String,
    /// The values of each label, without those of buckets.
    pub(crate) labels: BTreeMap<String, BTreeSet<String>>,
    /// The names of samples.
    pub(crate) samples: BTreeSet<String>,
}

/// The metrics of a server with these flags, in their order.
pub(crate) fn families(flags: Flags) -> Vec<Family> {
    let text = scrape(flags, "text/plain");
    let mut families: Vec<Family> = Vec::new();
    let mut help = String::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            rest.split_once(' ').expect("a text").1.clone_into(&mut help);
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a type");
            assert!(families.iter().all(|family| family.name != name), "{name} is shown twice");
            let (name, kind, help) = (name.to_owned(), kind.to_owned(), help.clone());
            families.push(Family { name, kind, help, labels: BTreeMap::new(), samples: BTreeSet::new() });
        } else {
            add_sample(families.last_mut().expect("a type before samples"), line);
        }
    }
    families
}

fn add_sample(family: &mut Family, line: &str) {
    let (sample, _value) = line.rsplit_once(' ').expect("a value");
    let (name, labels) = match sample.split_once('{') {
        Some((name, labels)) => (name, labels.trim_end_matches('}')),
        None => (sample, ""),
    };
    assert!(name.starts_with(&family.name), "{line}");
    family.samples.insert(name.to_owned());
    for (label, value) in labels.split("\",").filter_map(|label| label.split_once("=\"")) {
        if label != "le" {
            let values = family.labels.entry(label.to_owned()).or_default();
            values.insert(value.trim_end_matches('"').to_owned());
        }
    }
}
