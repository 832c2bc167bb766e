//! What each oracle reports, and what it accepts.

use replica_count_testbed::fault_proxy::Entry;
use serde_json::json;

use super::*;
use crate::history::Outcome;

fn ms(at: u64) -> Duration {
    Duration::from_millis(at)
}

fn line(at: u64, note: Note) -> Line {
    Line { at: ms(at), note }
}

fn patch(at: u64, ordinal: u64, count: i32, fault: Option<Fault>) -> Line {
    let uri = "/apis/apps/v1/namespaces/ns/deployments/web/scale?fieldManager=m".to_owned();
    let body = json!([
        { "op": "test", "path": "/metadata/uid", "value": "u" },
        { "op": "test", "path": "/spec/replicas", "value": 9 },
        { "op": "add", "path": "/spec/replicas", "value": count },
    ]);
    let (kind, method) = (Kind::Patch, "PATCH".to_owned());
    let note = ProxyNote::Request { kind, method, uri, body: Some(body), fault };
    line(at, Note::Proxy(Entry { ordinal, note }))
}

/// A server-side apply of the count 2.
fn apply(at: u64, ordinal: u64, metadata: &Value) -> Line {
    let mut line = patch(at, ordinal, 2, None);
    if let Note::Proxy(Entry { note: ProxyNote::Request { body, .. }, .. }) = &mut line.note {
        *body = Some(json!({ "metadata": metadata, "spec": { "replicas": 2 } }));
    }
    line
}

fn served(at: u64, ordinal: u64) -> Line {
    line(at, Note::Proxy(Entry { ordinal, note: ProxyNote::Served { status: 200, content_type: None } }))
}

fn set(begun: u64, ended: u64, count: i32, generation: i64) -> Operation {
    let outcome = Outcome::Set { generation };
    Operation { request: Request::Set { count }, begun: ms(begun), outcome, ended: ms(ended) }
}

/// Expects this many violations for two Sets, the second of which ended at 30 ms.
#[track_caller]
fn check(expected: usize, deviations: usize, lines: &[Line]) {
    let history = vec![set(0, 10, 1, 1), set(20, 30, 2, 2)];
    let histories = BTreeMap::from([("deployments/web".to_owned(), history)]);
    let violations = judge(&Evidence { lines, histories: &histories, deviations, is_shared: false });
    assert_eq!(violations.len(), expected, "{violations:?}");
}

#[test]
fn one_stale_write_may_have_been_in_flight() {
    check(0, 0, &[patch(5, 0, 1, None), patch(25, 1, 1, None), patch(40, 2, 2, None)]);
    check(0, 0, &[patch(40, 0, 1, None), patch(50, 1, 2, None)]);
    check(1, 0, &[patch(40, 0, 1, None), patch(50, 1, 1, None)]);
    check(0, 0, &[patch(1_000, 0, 1, None)]);
    check(1, 0, &[patch(1_100, 0, 1, None)]);
    let stop = |at| line(at, Note::Server(ServerEvent::Pause(ms(500))));
    check(0, 0, &[stop(20), patch(1_100, 0, 1, None)]);
    check(1, 0, &[patch(1_100, 0, 1, None), stop(1_200)]);
    check(1, 0, &[patch(40, 0, 7, None)]);
}

#[test]
fn writes_need_a_reason() {
    check(0, 0, &[patch(5, 0, 1, None), served(6, 0), patch(40, 1, 2, None), served(41, 1)]);
    let thrice = [
        patch(5, 0, 1, None),
        served(6, 0),
        patch(40, 1, 2, None),
        served(41, 1),
        patch(50, 2, 2, None),
        served(51, 2),
    ];
    check(1, 0, &thrice);
    check(0, 1, &thrice);
}

#[test]
fn retry_after_is_honoured() {
    let wait = Some(Fault::Refuse { status: 429, retry_after_seconds: Some(1) });
    check(0, 0, &[patch(40, 0, 2, wait), patch(1_040, 1, 2, None)]);
    check(1, 0, &[patch(40, 0, 2, wait), patch(900, 1, 2, None)]);
    check(1, 0, &[patch(25, 0, 1, wait), patch(900, 1, 2, None)]);
    let throttled = || line(45, Note::Proxy(Entry { ordinal: 0, note: ProxyNote::Answered { status: 429 } }));
    check(0, 0, &[patch(40, 0, 2, None), throttled(), patch(1_045, 1, 2, None)]);
    check(1, 0, &[patch(40, 0, 2, None), throttled(), patch(900, 1, 2, None)]);
    let dead = line(42, Note::Server(ServerEvent::Start));
    check(0, 0, &[patch(40, 0, 2, None), dead, throttled(), patch(900, 1, 2, None)]);
    let restart = |at| line(at, Note::Server(ServerEvent::Start));
    check(0, 0, &[patch(140, 0, 2, wait), restart(500), patch(900, 1, 2, None)]);
    check(0, 0, &[restart(100), patch(140, 0, 2, wait), patch(900, 1, 2, None)]);
    check(1, 0, &[restart(10), patch(140, 0, 2, wait), patch(900, 1, 2, None)]);
    for alive in [Note::Server(ServerEvent::Pause(ms(10))), Note::Healed, Note::ServerFaultInjected] {
        check(1, 0, &[patch(140, 0, 2, wait), line(500, alive), patch(900, 1, 2, None)]);
    }
}

#[test]
fn retry_after_ends_with_the_setting() {
    let wait = Some(Fault::Refuse { status: 429, retry_after_seconds: Some(1) });
    let lines = [patch(40, 0, 2, wait), patch(900, 1, 3, None)];
    for (begun, ended, is_violation) in
        [(1, 4, true), (20, 35, false), (35, 45, false), (800, 950, false), (950, 960, true)]
    {
        let delete = Operation {
            request: Request::Delete,
            begun: ms(begun),
            outcome: Outcome::Deleted,
            ended: ms(ended),
        };
        let history = vec![delete, set(5, 10, 2, 1), set(810, 890, 3, 2)];
        let histories = BTreeMap::from([("deployments/web".to_owned(), history)]);
        let evidence = Evidence { lines: &lines, histories: &histories, deviations: 0, is_shared: false };
        let violations = ignored_retry_after(&patches(&lines), &evidence);
        assert_eq!(!violations.is_empty(), is_violation, "{begun} to {ended}: {violations:?}");
    }
}

#[test]
fn the_rate_of_writes_in_a_conflict_is_limited() {
    let conflict = |pause: u64, repairs: u64| -> Vec<Line> {
        (0..repairs).flat_map(|n| [patch(40 + n * pause, n, 2, None), served(41 + n * pause, n)]).collect()
    };
    check(0, 20, &conflict(20, 20));
    check(1, 21, &conflict(20, 21));
    check(0, 21, &conflict(3_000, 21));
    let mut two_processes = conflict(20, 21);
    two_processes.insert(20, line(240, Note::Server(ServerEvent::Start)));
    check(0, 21, &two_processes);
    two_processes[20].note = Note::Healed;
    check(1, 21, &two_processes);
}

#[test]
fn every_write_tests_its_preconditions() {
    for missing in [0, 1] {
        let mut untested = patch(40, 0, 2, None);
        if let Note::Proxy(Entry { note: ProxyNote::Request { body: Some(body), .. }, .. }) =
            &mut untested.note
        {
            body[missing]["op"] = "replace".into();
        }
        check(1, 0, &[untested]);
    }
    check(0, 0, &[apply(40, 0, &json!({ "uid": "u", "resourceVersion": "7" }))]);
    check(1, 0, &[apply(40, 0, &json!({ "uid": "u" }))]);
    check(1, 0, &[apply(40, 0, &json!({ "resourceVersion": "7" }))]);
}

#[test]
fn a_stale_apply_is_no_part_of_a_conflict() {
    let answered = |n, status| {
        let metadata = json!({ "uid": "u", "resourceVersion": "7" });
        let answer = Note::Proxy(Entry { ordinal: n, note: ProxyNote::Answered { status } });
        [apply(40 + n, n, &metadata), line(41 + n, answer)]
    };
    check(0, 0, &(0..21).flat_map(|n| answered(n, 409)).collect::<Vec<_>>());
    check(1, 0, &(0..21).flat_map(|n| answered(n, 422)).collect::<Vec<_>>());
}

#[test]
fn a_wrong_count_may_be_hidden_only_briefly() {
    let wrong = |at, shown: &[&str], hidden: &[&str]| {
        let targets = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        line(at, Note::WrongCounts(Wrong { shown: targets(shown), hidden: targets(hidden) }))
    };
    let end = |at| line(at, Note::Healed);
    check(0, 0, &[wrong(0, &[], &["a"]), wrong(10_000, &[], &[])]);
    check(1, 0, &[wrong(0, &[], &["a"]), wrong(10_001, &[], &[])]);
    check(0, 0, &[wrong(0, &["a"], &[]), wrong(60_000, &[], &[])]);
    check(1, 0, &[wrong(0, &[], &["a"]), end(10_001)]);
    check(2, 0, &[wrong(0, &[], &["a"]), wrong(5_000, &[], &["a", "b"]), end(20_000)]);
    check(
        0,
        0,
        &[wrong(0, &[], &["a"]), wrong(9_000, &["a"], &["b"]), wrong(18_000, &[], &["a"]), end(27_000)],
    );
    // A frozen stream takes longer to be noticed.
    let frozen = patch(40, 0, 2, Some(Fault::Cut));
    check(0, 0, &[frozen.clone(), wrong(50, &[], &["a"]), end(25_000)]);
    check(1, 0, &[frozen, wrong(50, &[], &["a"]), end(25_051)]);
}

#[test]
fn what_a_policy_changes_is_written_again() {
    let again = |n| [patch(40 + n, n, 2, None), served(41 + n, n)];
    let mut lines: Vec<Line> = (0..5).flat_map(again).collect();
    check(1, 0, &lines);
    lines.push(line(60, Note::PolicyChanges("deployments/web".to_owned())));
    check(0, 0, &lines);
}

#[test]
fn another_server_may_not_know_yet_what_one_acknowledged() {
    let history = vec![set(5, 10, 2, 1), set(20, 30, 3, 2)];
    let histories = BTreeMap::from([("deployments/web".to_owned(), history)]);
    for (at, is_shared, is_violation) in [(5_000, false, true), (5_000, true, false), (26_000, true, true)] {
        let lines = [patch(at, 0, 2, None)];
        let violations = judge(&Evidence { lines: &lines, histories: &histories, deviations: 1, is_shared });
        assert_eq!(!violations.is_empty(), is_violation, "{at}, {is_shared}: {violations:?}");
    }
}

#[test]
fn retry_after_ends_with_the_term() {
    let wait = Some(Fault::Refuse { status: 429, retry_after_seconds: Some(1) });
    let renewal = |at, ordinal| {
        let uri = "/apis/coordination.k8s.io/v1/namespaces/ns/leases/manager?fieldManager=m".to_owned();
        let (kind, method) = (Kind::Patch, "PATCH".to_owned());
        let note = ProxyNote::Request { kind, method, uri, body: None, fault: None };
        line(at, Note::Proxy(Entry { ordinal, note }))
    };
    for (renewed, is_violation) in [(1_400, true), (2_200, false)] {
        let lines = [
            renewal(100, 0),
            served(110, 0),
            patch(1_500, 1, 2, wait),
            renewal(renewed, 2),
            served(renewed + 10, 2),
            patch(2_400, 3, 2, None),
        ];
        let evidence =
            Evidence { lines: &lines, histories: &BTreeMap::new(), deviations: 0, is_shared: false };
        let violations = ignored_retry_after(&patches(&lines), &evidence);
        assert_eq!(!violations.is_empty(), is_violation, "{renewed}: {violations:?}");
    }
}
