//! What files say, and what is wrong with them.

use std::fs;

use replica_count_api::proto::{GetDeploymentResponse, Kind};
use tempfile::TempDir;

use super::*;

fn read(text: &str) -> Result<Vec<Entry>, String> {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("counts.yaml");
    fs::write(&file, text).unwrap();
    let read = read_all(&[Source::Path(file.clone())], "shop", None);
    read.map_err(|failure| failure.message().replace(&file.display().to_string(), "FILE"))
}

/// Line, namespace, kind, name and count.
type Short = (u64, String, Kind, String, Option<i32>);

fn short(entry: Entry) -> Short {
    (entry.place.line, entry.namespace, entry.target.kind, entry.target.name, entry.replicas)
}

#[track_caller]
fn check(text: &str, expected: &[(u64, &str, Kind, &str, i32)]) {
    let expected = expected
        .iter()
        .map(|&(line, namespace, kind, name, count)| {
            (line, namespace.to_owned(), kind, name.to_owned(), Some(count))
        })
        .collect();
    assert_eq!(read(text).map(|entries| entries.into_iter().map(short).collect::<Vec<_>>()), Ok(expected));
}

#[track_caller]
fn check_refused(text: &str, expected: &str) {
    assert_eq!(read(text), Err(expected.to_owned()));
}

#[test]
fn settings_are_read_from_json_and_yaml() {
    let deployment = (2, "a", Kind::Deployment, "web", 3);
    check(
        "[\n  {\"name\":\"web\",\"namespace\":\"a\",\"replicas\":3},\n  {\"name\":\"db\",\"namespace\":\"a\",\"kind\":\"StatefulSet\",\"replicas\":0}\n]\n",
        &[deployment, (3, "a", Kind::StatefulSet, "db", 0)],
    );
    check("# counts\n- name: web\n  namespace: a\n  replicas: 3\n", &[deployment]);
    check("name: web\nreplicas: 3\n", &[(1, "shop", Kind::Deployment, "web", 3)]);
    check("[]", &[]);
    check_refused("", "nothing was given");
}

#[test]
fn replica_counts_are_read_alone_and_in_lists() {
    let one = "apiVersion: replicacount.dev/v1alpha1\nkind: ReplicaCount\nmetadata:\n  name: web\nspec:\n  replicas: 3\n";
    check(one, &[(1, "shop", Kind::Deployment, "web", 3)]);
    let other = "apiVersion: replicacount.dev/v1alpha1\nkind: ReplicaCount\nmetadata: {name: x, namespace: b}\nspec:\n  target: {kind: StatefulSet, name: db}\n  replicas: 1\nstatus: {current: 1}\n";
    check(
        &format!("{one}---\n{other}"),
        &[(1, "shop", Kind::Deployment, "web", 3), (8, "b", Kind::StatefulSet, "db", 1)],
    );
    let list = r#"{"apiVersion": "v1", "kind": "List", "items": [
{"apiVersion": "replicacount.dev/v1alpha1", "kind": "ReplicaCount", "metadata": {"name": "web"}, "spec": {"replicas": 3}}
]}"#;
    check(list, &[(2, "shop", Kind::Deployment, "web", 3)]);
}

#[test]
fn what_is_wrong_is_named_with_file_line_and_key() {
    check_refused(
        "- name: web\n  replicas: -1\n",
        "FILE:2: replicas: -1 is not a count: write a number from 0 on",
    );
    check_refused("- name: web\n  replicas: many\n", "FILE:2: replicas: must be a number, and is a text");
    check_refused("- name: web\n  replica: 3\n  replicas: 3\n", "FILE:2: replica: is not a known key");
    check_refused("- replicas: 3\n", "FILE:1: name: is missing");
    check_refused("- name: web\n", "FILE:1: replicas: is missing");
    check_refused("- just text\n", "FILE:1: must be an object, and is a text");
    check_refused(
        "- name: Web\n  replicas: 3\n",
        "FILE:1: name \"Web\" is not valid: use lower-case letters, digits, '-' and '.', and begin and end with a letter or digit",
    );
    check_refused(
        "- {name: web, replicas: 3}\n- {name: web, replicas: 4}\n",
        "FILE:2: deployment.apps/web in the namespace shop is already at FILE:1",
    );
    check_refused(
        "apiVersion: v1\nkind: Pod\n",
        "FILE:2: kind: v1 Pod is neither a ReplicaCount nor a list of them",
    );
    check_refused(
        "apiVersion: replicacount.dev/v1alpha1\nkind: ReplicaCount\nmetadata: {name: web}\nspec:\n  replicas: 3\n  enforcement: ignore\n",
        "FILE:6: spec.enforcement: \"ignore\" is neither Enforce nor Ignore",
    );
    check_refused(
        "- {name: web, replicas: 3, enforcementUntil: soon}\n",
        "FILE:1: enforcementUntil: \"soon\" is not a time: write for example 2030-01-01T08:00:00Z",
    );
}

#[test]
fn all_problems_are_listed() {
    let refused = read("- name: web\n- replicas: 1\n").unwrap_err();
    assert_eq!(refused, "FILE:1: replicas: is missing\nerror: FILE:2: name: is missing");
}

#[test]
fn broken_yaml_is_named_with_its_line() {
    let refused = read("- name: web\n  replicas: [1\n").unwrap_err();
    assert!(refused.starts_with("FILE:"), "{refused}");
}

fn row(name: &str, count: i32) -> GetDeploymentResponse {
    GetDeploymentResponse {
        name: name.to_owned(),
        namespace: "shop".to_owned(),
        desired_replicas: Some(count),
        ..GetDeploymentResponse::default()
    }
}

fn now() -> jiff::Timestamp {
    "2030-01-01T00:00:00Z".parse().unwrap()
}

/// Plans a file against rows, all of which may be pruned.
fn plan(text: &str, rows: &[GetDeploymentResponse]) -> Vec<(String, &'static str, Vec<Step>)> {
    let plan = Plan::new(read(text).unwrap(), rows, |_| true, now());
    plan.changes
        .into_iter()
        .map(|change| (change.target.name.clone(), change.outcome(), change.steps))
        .collect()
}

fn set(count: i32) -> Step {
    Step::Set { count, until: None }
}

#[test]
fn only_what_differs_is_changed() {
    let changes = plan(
        "- {name: a, replicas: 1}\n- {name: b, replicas: 2}\n- {name: c, replicas: 3}\n",
        &[row("b", 5), row("c", 3), row("d", 4)],
    );
    let named = |name: &str| name.to_owned();
    assert_eq!(
        changes,
        [
            (named("a"), "created", vec![set(1)]),
            (named("b"), "configured", vec![set(2)]),
            (named("c"), "unchanged", vec![]),
            (named("d"), "pruned", vec![Step::Delete]),
        ]
    );
}

#[test]
fn reasons_and_enforcement_are_changed() {
    let steps = |text: &str, row| plan(text, &[row]).remove(0).2;
    let because = |reason: &str| GetDeploymentResponse { reason: reason.to_owned(), ..row("a", 1) };
    assert_eq!(steps("{name: a, replicas: 1, reason: sale}", because("sale")), []);
    assert_eq!(steps("{name: a, replicas: 1, reason: sale}", because("")), [set(1)]);
    assert_eq!(steps("{name: a, replicas: 1}", because("sale")), []);
    let ignore = Step::Enforce(Enforcement::Ignore(None));
    assert_eq!(steps("{name: a, replicas: 1, enforcement: ignore}", row("a", 1)), [ignore]);
    let over = "{name: a, replicas: 1, enforcement: ignore, enforcementUntil: 2029-01-01T00:00:00Z}";
    assert_eq!(steps(over, row("a", 1)), []);
}

#[test]
fn temporary_counts_come_and_go() {
    let until: jiff::Timestamp = "2031-01-01T00:00:00Z".parse().unwrap();
    let steps = |text: &str, row| plan(text, &[row]).remove(0).2;
    let held = GetDeploymentResponse {
        hold_until: Some(replica_count_api::response::timestamp(until)),
        replicas_afterwards: Some(1),
        ..row("a", 9)
    };
    let hold = Step::Set { count: 9, until: Some(until) };
    let text = "{name: a, replicas: 1, temporaryReplicas: 9, temporaryUntil: 2031-01-01T00:00:00Z}";
    assert_eq!(steps(text, held.clone()), []);
    assert_eq!(steps(text, row("a", 1)), vec![hold.clone()]);
    assert_eq!(steps(text, row("a", 2)), [set(1), hold.clone()]);
    assert_eq!(steps("{name: a, replicas: 1}", held.clone()), [set(1)]);
    let only = "{name: a, temporaryReplicas: 9, temporaryUntil: 2031-01-01T00:00:00Z}";
    assert_eq!(steps(only, row("a", 1)), [Step::Delete, hold]);
    let ended = "{name: a, replicas: 1, temporaryReplicas: 9, temporaryUntil: 2029-01-01T00:00:00Z}";
    assert_eq!(steps(ended, row("a", 1)), []);
}

#[test]
fn entries_show_all_that_changes() {
    let plan = |text: &str, row| Plan::new(read(text).unwrap(), &[row], |_| true, now()).changes.remove(0);
    let entry = |change: &Change, setting: &Option<Setting>| {
        entry_of(&change.namespace, &change.target, setting.as_ref().unwrap()).unwrap()
    };
    let because = GetDeploymentResponse { reason: "sale".to_owned(), ..row("a", 1) };
    let ignored = plan(
        "{name: a, replicas: 1, enforcement: ignore, enforcementUntil: 2031-01-01T00:00:00Z}",
        because.clone(),
    );
    assert_eq!(entry(&ignored, &ignored.before), "name: a\nnamespace: shop\nreplicas: 1\nreason: sale\n");
    // Nobody sets the count, so its reason stays.
    let after = "name: a\nnamespace: shop\nreplicas: 1\nenforcement: ignore\n\
        enforcementUntil: \"2031-01-01T00:00:00Z\"\nreason: sale\n";
    assert_eq!(entry(&ignored, &ignored.after), after);
    let set = plan("{name: a, replicas: 2}", because);
    assert_eq!(entry(&set, &set.after), "name: a\nnamespace: shop\nreplicas: 2\n");
}

#[test]
fn what_is_exported_is_read_as_the_same() {
    let until = replica_count_api::response::timestamp("2031-01-01T00:00:00Z".parse().unwrap());
    let mut rows = vec![row("a", 1), row("b", 9), row("c", 2)];
    rows[0].reason = "why: \"this\"\nand that".to_owned();
    (rows[1].hold_until, rows[1].replicas_afterwards) = (Some(until), Some(4));
    rows[2].kind = Kind::StatefulSet.into();
    rows[2].enforcement = replica_count_api::proto::EnforcementMode::Ignore.into();
    rows[2].enforcement_until = Some(until);
    for format in [FileFormat::Json, FileFormat::Yaml, FileFormat::Replicacounts] {
        let text = render(&rows, format).unwrap();
        let plan = Plan::new(read(&text).unwrap(), &rows, |_| true, now());
        assert_eq!(plan.changes.len(), 3, "{text}");
        assert_eq!(plan.needed().count(), 0, "{text}\n{plan:?}");
    }
}
