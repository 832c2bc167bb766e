//! The table of metrics in the documentation is that of the server.

use std::env;
use std::fs;
use std::path::Path;

use crate::exposition::{Family, families};
use crate::server::SERVERS;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/metrics.md");
const BEGIN: &str = "<!-- `make metrics-docs` writes this table. -->\n";
const END: &str = "<!-- The end of the table. -->\n";

/// What all names but those of RPCs begin with.
const PREFIX: &str = "replica_count_manager_";

/// Labels whose values are many, or differ from server to server.
const OPEN_LABELS: [&str; 12] = [
    "code",
    "grpc_code",
    "grpc_method",
    "grpc_service",
    "grpc_type",
    "kind",
    "name",
    "namespace",
    "resource",
    "state",
    "verb",
    "version",
];

#[test]
fn the_documentation_has_the_metrics_of_the_server() {
    let mut rows = vec!["| name | type | meaning |\n|---|---|---|\n".to_owned()];
    let mut seen: Vec<Family> = Vec::new();
    for flags in SERVERS {
        for family in families(flags) {
            assert!(!family.help.is_empty(), "{} has no text", family.name);
            match seen.iter().find(|known| known.name == family.name) {
                None => {
                    rows.push(row(&family, flags.0, &seen));
                    seen.push(family);
                }
                Some(known) => assert_eq!(known.kind, family.kind, "{}", family.name),
            }
        }
    }
    let path = Path::new(FILE);
    let text = fs::read_to_string(path).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("the begin of the table");
    let (_, after) = rest.split_once(END).expect("the end of the table");
    let expected = format!("{before}{BEGIN}\n{}\n{END}{after}", rows.concat());
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(path, expected).unwrap();
    } else {
        assert_eq!(text, expected, "run `make metrics-docs`");
    }
}

/// The row of a metric. Values of a label that an earlier metric has, too, are not repeated.
fn row(family: &Family, flags: &str, seen: &[Family]) -> String {
    let Family { name, kind, help, labels, .. } = family;
    let names: Vec<&str> = labels.keys().map(String::as_str).collect();
    let labelled = match &names[..] {
        [] => short(name).to_owned(),
        names => format!("{}{{{}}}", short(name), names.join(",")),
    };
    let mut meaning = help.trim_end_matches('.').to_owned();
    for (label, values) in labels.iter().filter(|(label, _)| !OPEN_LABELS.contains(&label.as_str())) {
        let same = seen.iter().find(|other| other.labels.get(label) == Some(values));
        let values: Vec<String> = values.iter().map(|value| format!("`{value}`")).collect();
        meaning += &match same {
            Some(other) => format!("; `{label}` as of `{}`", short(&other.name)),
            None => format!("; `{label}`: {}", values.join(", ")),
        };
    }
    if !flags.is_empty() {
        meaning = format!("with `{flags}`: {meaning}");
    }
    format!("| `{labelled}` | {kind} | {meaning} |\n")
}

fn short(name: &str) -> &str {
    name.strip_prefix(PREFIX).unwrap_or(name)
}
