//! The alerts and the dashboard of the chart query what a server shows, and nothing else.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::exposition::{Family, families};
use crate::server::{Flags, SERVERS};

const FOLDER: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../charts/replica-count-manager/files/monitoring");

/// What the names of our metrics begin with.
const PREFIXES: [&str; 2] = ["replica_count_manager_", "grpc_server_"];

/// Labels that Prometheus adds, and those of buckets.
const COMMON_LABELS: [&str; 5] = ["namespace", "job", "pod", "instance", "le"];

/// A metric in a query, and what is asked of its labels.
#[derive(Debug, PartialEq)]
struct Selector {
    name: String,
    /// Label, operator and value.
    matchers: Vec<(String, String, String)>,
}

#[test]
fn alerts_and_dashboard_query_only_what_a_server_shows() {
    let alerts = read("alerts.yaml", |text| serde_saphyr::from_str(text).unwrap());
    let dashboard = read("dashboard.json", |text| serde_json::from_str(text).unwrap());
    let shown: Vec<Family> = SERVERS.into_iter().flat_map(|flags: Flags| families(flags)).collect();
    let mut checked = 0;
    for (file, value) in [("alerts.yaml", alerts), ("dashboard.json", dashboard)] {
        let mut queries = Vec::new();
        collect(&value, &mut queries);
        assert!(queries.len() >= 15, "{file} has only {queries:?}");
        for query in queries {
            let selectors = selectors(&query);
            assert!(!selectors.is_empty(), "{file}: {query}");
            for selector in selectors {
                check(&selector, &shown).unwrap_or_else(|problem| panic!("{file}: {query}: {problem}"));
                checked += 1;
            }
        }
    }
    assert!(checked > 60, "only {checked} were found");
}

fn read(name: &str, parse: impl FnOnce(&str) -> Value) -> Value {
    parse(&fs::read_to_string(Path::new(FOLDER).join(name)).unwrap())
}

/// All texts that are queries.
fn collect(value: &Value, queries: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                match value.as_str() {
                    Some("prometheus") => {}
                    Some(text) if key == "expr" || key == "query" => queries.push(text.to_owned()),
                    _ => collect(value, queries),
                }
            }
        }
        Value::Array(members) => members.iter().for_each(|value| collect(value, queries)),
        _ => {}
    }
}

/// Our metrics in a query.
fn selectors(query: &str) -> Vec<Selector> {
    let is_part_of_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == ':';
    let mut selectors = Vec::new();
    let mut rest = query;
    while let Some(start) = rest.find(is_part_of_name) {
        let after = &rest[start..];
        let end = after.find(|letter| !is_part_of_name(letter)).unwrap_or(after.len());
        let (name, after) = after.split_at(end);
        rest = after;
        if PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
            let braces = after.strip_prefix('{').and_then(|after| after.split_once('}'));
            let matchers = braces.map_or(Vec::new(), |(inside, _)| matchers(inside));
            selectors.push(Selector { name: name.to_owned(), matchers });
        }
    }
    selectors
}

/// What is between braces.
fn matchers(text: &str) -> Vec<(String, String, String)> {
    let mut matchers = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('"') {
        let (value, after) = after.split_once('"').expect("the end of a value");
        let before = before.trim_matches([',', ' ']);
        let end = before.find(['=', '!']).expect("an operator");
        matchers.push((before[..end].to_owned(), before[end..].to_owned(), value.to_owned()));
        rest = after;
    }
    matchers
}

fn check(Selector { name, matchers }: &Selector, shown: &[Family]) -> Result<(), String> {
    let has_samples = |family: &&Family| family.samples.contains(name) || family.name == *name;
    let families: Vec<&Family> = shown.iter().filter(has_samples).collect();
    if families.is_empty() {
        return Err(format!("no server shows {name}"));
    }
    for (label, operator, value) in matchers.iter().filter(|matcher| !COMMON_LABELS.contains(&&*matcher.0)) {
        let values: Vec<_> =
            families.iter().filter_map(|family| family.labels.get(label)).flatten().collect();
        if values.is_empty() {
            return Err(format!("{name} has no label {label}"));
        }
        let is_regex = operator.ends_with('~');
        let asked: Vec<&str> = if is_regex { value.split('|').collect() } else { vec![value] };
        // The states of workloads are not known without a cluster.
        if let Some(unknown) =
            asked.iter().find(|asked| label != "state" && !values.iter().any(|value| value == *asked))
        {
            return Err(format!("{name} never has {label}={unknown}"));
        }
    }
    Ok(())
}

#[test]
fn what_no_server_shows_is_found() {
    let samples = ["replica_count_manager_a_total".to_owned()].into();
    let labels = [("reason".to_owned(), ["full".to_owned(), "busy".to_owned()].into())].into();
    let (name, kind, help) =
        ("replica_count_manager_a_total".to_owned(), "counter".to_owned(), String::new());
    let shown = [Family { name, kind, help, labels, samples }];
    let problem = |query: &str| {
        let selectors = selectors(query);
        selectors.iter().try_for_each(|selector| check(selector, &shown)).err()
    };
    let check =
        |query: &str, expected: Option<&str>| assert_eq!(problem(query).as_deref(), expected, "{query}");
    check("sum(rate(replica_count_manager_a_total[5m])) > 0", None);
    check(r#"replica_count_manager_a_total{job="x", reason=~"full|busy"}"#, None);
    check("replica_count_manager_a", Some("no server shows replica_count_manager_a"));
    check(
        r#"x / replica_count_manager_a_total{result="full"}"#,
        Some("replica_count_manager_a_total has no label result"),
    );
    check(
        r#"replica_count_manager_a_total{job="x",reason!~"full|fulll"}"#,
        Some("replica_count_manager_a_total never has reason=fulll"),
    );
    check("grpc_server_x", Some("no server shows grpc_server_x"));
}
