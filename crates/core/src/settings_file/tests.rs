//! Parsing and rendering: exact texts, exact errors, and properties that hold for any input.

use std::collections::BTreeMap;
use std::str;
use std::sync::Arc;

use jiff::Timestamp;
use proptest::collection::btree_map;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::kind::Kind;
use crate::replicas::Replicas;
use crate::setting::{Enforcement, Hold, Setting, Settings};
use crate::stored::{Stored, Unsupported};
use crate::target::Target;

fn target(namespace: &str, name: &str) -> Target {
    Target::deployment(namespace, name).expect("valid")
}

fn count(replicas: i32) -> Setting {
    Setting::of(Replicas::new(replicas).expect("valid"))
}

fn rendered(stored: &Stored) -> String {
    let mut file = b"what was written before".to_vec();
    render(stored, &mut file);
    String::from_utf8(file).expect("UTF-8")
}

fn only(settings: Settings) -> Stored {
    Stored { settings, ..Stored::default() }
}

#[track_caller]
fn check_round_trip<const N: usize>(settings: [(Target, Setting); N], text: &str) {
    let settings: Settings =
        settings.into_iter().map(|(target, setting)| (target, Arc::new(setting))).collect();
    assert_eq!(rendered(&only(settings.clone())), text);
    assert_eq!(parse(text.as_bytes()), Ok(only(settings)));
}

#[test]
fn an_entry_has_only_the_keys_it_needs() {
    let time = |text: &str| text.parse::<Timestamp>().expect("a time");
    check_round_trip([], "[]\n");
    check_round_trip(
        [(target("a", "web"), count(0))],
        r#"[
  {"name":"web","namespace":"a","replicas":0}
]
"#,
    );
    let full = Setting {
        generation: 7,
        enforcement: Enforcement::Ignore { until: Some(time("2026-01-31T12:00:00.5Z")) },
        set_by: Some("alice".into()),
        set_at: Some(time("2026-01-30T12:00:00Z")),
        reason: Some("the \"big\"\nsale".into()),
        ..count(i32::MAX)
    };
    let ignored = Setting { enforcement: Enforcement::Ignore { until: None }, ..count(2) };
    check_round_trip(
        [(target("a", "web"), full), (target("b", "api.v1"), ignored)],
        concat!(
            "[\n",
            r#"  {"name":"web","namespace":"a","replicas":2147483647,"generation":7,"enforcement":"ignore","#,
            r#""enforcementUntil":"2026-01-31T12:00:00.5Z","setBy":"alice","setAt":"2026-01-30T12:00:00Z","#,
            r#""reason":"the \"big\"\nsale"},"#,
            "\n",
            r#"  {"name":"api.v1","namespace":"b","replicas":2,"enforcement":"ignore"}"#,
            "\n]\n",
        ),
    );
}

#[test]
fn a_temporary_count_is_kept_beside_the_lasting_one() {
    let until = "2026-01-31T12:00:00Z".parse().expect("a time");
    let held = |afterwards| Setting { hold: Some(Hold { until, afterwards }), ..count(9) };
    check_round_trip(
        [
            (target("a", "api"), held(None)),
            (target("a", "web"), Setting { generation: 2, ..held(Some(count(3).replicas)) }),
        ],
        concat!(
            "[\n",
            r#"  {"name":"api","namespace":"a","temporaryReplicas":9,"temporaryUntil":"2026-01-31T12:00:00Z"},"#,
            "\n",
            r#"  {"name":"web","namespace":"a","replicas":3,"temporaryReplicas":9,"#,
            r#""temporaryUntil":"2026-01-31T12:00:00Z","generation":2}"#,
            "\n]\n",
        ),
    );
}

#[test]
fn hand_written_files_may_look_different() {
    for text in [
        r#"[{"replicas": 3, "namespace": "default", "name": "web"}]"#,
        "\n\t[ {\"name\":\"w\\u0065b\",\n\"namespace\":\"default\",\r\n\"replicas\":3 } ] ",
        r#"[{"name":"web","namespace":"default","replicas":3,"enforcement":"enforce","generation":1}]"#,
    ] {
        let expected = Settings::from([(target("default", "web"), Arc::new(count(3)))]);
        assert_eq!(parse(text.as_bytes()), Ok(only(expected)), "{text}");
    }
}

/// Checks that an entry is set aside for this reason, as it is written.
#[track_caller]
fn check_unsupported(entry: &str, target: &str, generation: u64, reason: &str) {
    let text = format!("[{{\"name\":\"api\",\"namespace\":\"z\",\"replicas\":1}},\n\t{entry} ]");
    let stored = parse(text.as_bytes()).expect("valid");
    assert_eq!(stored.settings.len(), 1, "{entry}");
    let reason = format!("this version does not know the {reason}").into();
    let unsupported = Unsupported { reason, generation, json: entry.into() };
    let expected = (target.parse().expect("a target"), Arc::new(unsupported));
    assert_eq!(stored.unsupported, BTreeMap::from([expected]));
    let written = rendered(&stored);
    let setting = r#"{"name":"api","namespace":"z","replicas":1}"#;
    assert_eq!(written, format!("[\n  {setting},\n  {entry}\n]\n"));
    assert_eq!(parse(written.as_bytes()), Ok(stored));
}

#[test]
fn an_entry_of_another_version_is_kept_unchanged() {
    let web = r#""name":"web","namespace":"a","replicas":1"#;
    check_unsupported(&format!(r#"{{{web},"floor":2}}"#), "a/web", 1, r#"key "floor""#);
    check_unsupported(
        "{\"floor\" : {\"b\":[1, 2e3 ]} ,\n\n \"generation\":7,\"name\":\"w\\u0065b\", \"namespace\":\"a\"}",
        "a/web",
        7,
        r#"key "floor""#,
    );
    check_unsupported(&format!(r#"{{{web},"enforcement":"warn"}}"#), "a/web", 1, r#"enforcement "warn""#);
    check_unsupported(&format!(r#"{{{web},"kind":"Rollout"}}"#), "a/Rollout/web", 1, r#"kind "Rollout""#);
    check_unsupported(
        &format!(r#"{{{web},"kind":"StatefulSet","x":1,"y":2}}"#),
        "a/statefulset/web",
        1,
        r#"key "x""#,
    );
    let long = "k".repeat(100);
    let expected = format!("key {:?}", "k".repeat(64));
    check_unsupported(&format!(r#"{{{web},"{long}":null}}"#), "a/web", 1, &expected);
}

#[test]
fn an_entry_of_another_version_can_be_removed() {
    let entry = |name: &str| format!(r#"{{"name":"{name}","namespace":"a","floor":1}}"#);
    let text = format!("[{}, {}]", entry("one"), entry("two"));
    let mut stored = parse(text.as_bytes()).expect("valid");
    let mut text = Text::of(&stored);
    stored.unsupported.pop_first();
    let setting = count(3);
    let changes = [(&target("b", "web"), Some(&setting))];
    text.propose(changes, stored.unsupported.values().map(|entry| &**entry));
    let expected =
        format!("[\n  {},\n  {}\n]\n", r#"{"name":"web","namespace":"b","replicas":3}"#, entry("two"));
    assert_eq!(str::from_utf8(text.proposed()), Ok(&*expected));
    text.accept();
    text.propose([(&target("b", "web"), None)], []);
    assert_eq!(text.proposed(), b"[]\n");
}

/// Checks the error for a file whose third line is `entry`, and that parsing stops at its mark `¦`.
#[track_caller]
fn check_entry(entry: &str, message: &str) {
    let column = entry.find('¦').expect("a mark");
    let entry = entry.replace('¦', "");
    let text =
        format!("[\n{{\"name\":\"web\",\"namespace\":\"a\",\"replicas\":1}},\n{entry}\n,\n  {{}}\n]\n");
    let expected = SettingsFileError { line: 3, column, message: message.to_owned() };
    assert_eq!(parse(text.as_bytes()), Err(expected), "{entry}");
}

#[test]
fn an_invalid_entry_is_refused_with_its_position() {
    let entry = |rest: &str| format!(r#"{{"name":"b","namespace":"a",{rest}"#);
    let number = "expected a whole number from 0 to 2147483647 as replicas";
    let generation = "expected a whole number above 0 as generation";
    let time = "is not a time such as 2026-01-31T12:00:00Z";
    for (rest, message) in [
        (r#""replicas":1,"floor":1,"floor"¦:1}"#, "duplicate field `floor`".into()),
        (r#""floor":1,"replicas":"1"¦}"#, format!("invalid type: string \"1\", {number}")),
        (r#""replicas":1,"floor":01¦}"#, "invalid number".into()),
        (r#""enforcement":"warn"}¦"#, "missing field `replicas`".into()),
        (r#""replicas":1,"replicas"¦:1}"#, "duplicate field `replicas`".into()),
        (r#""replicas":1,"reason":"","reason"¦:""}"#, "duplicate field `reason`".into()),
        (r#""setBy":"alice"}¦"#, "missing field `replicas`".into()),
        (r#""replicas":-1¦}"#, "-1 is negative; a replica count is 0 or more".into()),
        (r#""replicas":1.5¦}"#, format!("invalid type: floating point `1.5`, {number}")),
        (r#""replicas":1.0¦}"#, format!("invalid type: floating point `1.0`, {number}")),
        (r#""replicas":2147483648¦}"#, format!("invalid value: integer `2147483648`, {number}")),
        (r#""replicas":"1"¦}"#, format!("invalid type: string \"1\", {number}")),
        (r#""replicas":null¦}"#, format!("invalid type: null, {number}")),
        (r#""replicas":¦[1]}"#, format!("invalid type: sequence, {number}")),
        (r#""replicas":01¦}"#, "invalid number".into()),
        (r#""replicas":1,"generation":0¦}"#, format!("invalid value: integer `0`, {generation}")),
        (r#""replicas":1,"generation":-1¦}"#, format!("invalid value: integer `-1`, {generation}")),
        (
            r#""replicas":1,"enforcement":true¦}"#,
            r#"invalid type: boolean `true`, expected "enforce" or "ignore""#.into(),
        ),
        (
            r#""replicas":1,"enforcementUntil":"2026-01-31T12:00:00Z"}¦"#,
            r#"enforcementUntil has no meaning without "enforcement": "ignore""#.into(),
        ),
        (
            r#""replicas":1,"temporaryReplicas":2}¦"#,
            "temporaryReplicas has no meaning without temporaryUntil".into(),
        ),
        (
            r#""replicas":1,"temporaryUntil":"2026-01-31T12:00:00Z"}¦"#,
            "temporaryUntil has no meaning without temporaryReplicas".into(),
        ),
        (r#""replicas":1,"setAt":"today"¦}"#, format!(r#""today" {time}"#)),
        (r#""replicas":1,"enforcementUntil":"12:00"¦}"#, format!(r#""12:00" {time}"#)),
        (r#""replicas":1,"setBy":3¦}"#, "invalid type: integer `3`, expected text".into()),
        (r#""replicas":1,"reason":null¦}"#, "invalid type: null, expected text".into()),
        (r#""replicas":1,}¦"#, "trailing comma".into()),
    ] {
        check_entry(&entry(rest), &message);
    }
}

#[test]
fn invalid_names_and_duplicates_are_refused() {
    check_entry(
        r#"{"name":"B"¦,"namespace":"a","replicas":1}"#,
        r#"name "B" is not valid: use lower-case letters, digits, '-' and '.', and begin and end with a letter or digit"#,
    );
    check_entry(
        r#"{"name":"b","namespace":"a.b"¦,"replicas":1}"#,
        r#"namespace "a.b" is not valid: use lower-case letters, digits and '-', and begin and end with a letter or digit"#,
    );
    check_entry(r#"{"name":""¦,"namespace":"a","replicas":1}"#, "name is empty");
    check_entry(r#"{"namespace":"a","replicas":1}¦"#, "missing field `name`");
    check_entry(r#"{"name":"b","replicas":1}¦"#, "missing field `namespace`");
    check_entry(r#"{"name":"web","namespace":"a","replicas":2}¦"#, "a/web has an entry already");
    check_entry(r#"{"name":"web","namespace":"a","floor":2}¦"#, "a/web has an entry already");
    let kind = "is not valid: use the name of a kind as in manifests, such as Deployment";
    check_entry(
        r#"{"name":"b","namespace":"a","kind":"deployment"¦,"replicas":1}"#,
        &format!("kind \"deployment\" {kind}"),
    );
    let example = r#"expected a setting such as {"name": "web", "namespace": "default", "replicas": 3}"#;
    check_entry("null¦", &format!("invalid type: null, {example}"));
    check_entry(r#"¦["b","a",1]"#, &format!("invalid type: sequence, {example}"));
}

#[test]
fn an_invalid_file_is_refused() {
    let empty = "the file is empty; without settings it must hold []";
    for (text, line, column, message) in [
        (&b""[..], 1, 1, empty),
        (b" \n\n", 1, 1, empty),
        (b"\0\0\0", 1, 1, "expected value"),
        (b"{}", 1, 0, "invalid type: map, expected a list of settings"),
        (b"null", 1, 4, "invalid type: null, expected a list of settings"),
        (b"[]\n[]", 2, 1, "trailing characters"),
        (b"[]\n\n x", 3, 2, "trailing characters"),
        (b"[\n", 2, 0, "EOF while parsing a list"),
        (b"[\n{\"name\":\"we", 2, 11, "EOF while parsing a string"),
        (b"[\n  {\"name\":\"\xe9\"}]", 2, 12, "byte 0xe9 is not UTF-8"),
        (b"\xff", 1, 1, "byte 0xff is not UTF-8"),
    ] {
        let expected = SettingsFileError { line, column, message: message.to_owned() };
        assert_eq!(parse(text), Err(expected), "{text:?}");
    }
    let error = parse(b"[]\n[]").expect_err("trailing text");
    assert_eq!(error.to_string(), "line 2, column 1: trailing characters");
}

#[test]
fn two_entries_of_another_version_for_one_target_are_refused() {
    for (entry, target) in [
        (r#"{"name":"b","namespace":"a","floor":1}"#, "a/b"),
        (r#"{"name":"b","namespace":"a","kind":"Rollout"}"#, "a/Rollout/b"),
    ] {
        let error = parse(format!("[{entry},\n{entry}]").as_bytes()).expect_err("refused");
        assert_eq!((error.line, error.message), (2, format!("{target} has an entry already")));
    }
}

fn any_setting() -> impl Strategy<Value = Setting> {
    let time = (Timestamp::MIN.as_nanosecond()..=Timestamp::MAX.as_nanosecond())
        .prop_map(|nanosecond| Timestamp::from_nanosecond(nanosecond).expect("in range"));
    let enforcement = prop_oneof![
        Just(Enforcement::Enforce),
        option::of(time.clone()).prop_map(|until| Enforcement::Ignore { until })
    ];
    let afterwards = option::of((0..=i32::MAX).prop_map(|n| Replicas::new(n).expect("valid")));
    let hold = (time.clone(), afterwards).prop_map(|(until, afterwards)| Hold { until, afterwards });
    (
        0..=i32::MAX,
        option::of(hold),
        1..=u64::MAX,
        enforcement,
        option::of(any::<String>()),
        option::of(time),
        option::of(any::<String>()),
    )
        .prop_map(|(replicas, hold, generation, enforcement, set_by, set_at, reason)| Setting {
            hold,
            generation,
            enforcement,
            set_by,
            set_at,
            reason,
            ..count(replicas)
        })
}

fn any_kind() -> impl Strategy<Value = Kind> {
    prop::sample::select(&Kind::ALL[..])
}

fn any_settings() -> impl Strategy<Value = Settings> {
    let target = (any_kind(), "[a-z]([a-z0-9-]{0,3}[a-z0-9])?", "[a-z0-9]{1,3}(\\.[a-z0-9]{1,3}){0,2}")
        .prop_map(|(kind, namespace, name)| Target::new(kind, &namespace, &name).expect("valid"));
    btree_map(target, any_setting().prop_map(Arc::new), 0..8)
}

/// Settings, and an entry of another version.
fn any_stored() -> impl Strategy<Value = Stored> {
    (any_settings(), option::of((1..=u64::MAX, any::<String>()))).prop_map(|(settings, unsupported)| {
        let unsupported = unsupported.map(|(generation, floor)| {
            let json = serde_json::json!({
                "floor": floor, "generation": generation, "kind": "Rollout", "name": "web", "namespace": "a",
            });
            let reason = r#"this version does not know the kind "Rollout""#.into();
            let entry = Unsupported { reason, generation, json: json.to_string().into() };
            ("a/Rollout/web".parse().expect("valid"), Arc::new(entry))
        });
        Stored { settings, unsupported: unsupported.into_iter().collect() }
    })
}

/// Changes of few targets, so that they overlap, and whether they are accepted.
fn any_batch() -> impl Strategy<Value = (BTreeMap<Target, Option<Arc<Setting>>>, bool)> {
    let target = (any_kind(), "[a-b]-?[a-b]", "[a-b](\\.?[a-b]){0,2}")
        .prop_map(|(kind, namespace, name)| Target::new(kind, &namespace, &name).expect("valid"));
    (btree_map(target, option::of(any_setting().prop_map(Arc::new)), 0..12), any::<bool>())
}

proptest! {
    #[test]
    fn changed_text_equals_rendered_text(batches in prop::collection::vec(any_batch(), 0..6)) {
        let mut settings = Settings::new();
        let mut text = Text::of(&Stored::default());
        for (changes, is_accepted) in batches {
            let mut changed = settings.clone();
            for (target, setting) in &changes {
                match setting {
                    Some(setting) => changed.insert(target.clone(), Arc::clone(setting)),
                    None => changed.remove(target),
                };
            }
            text.propose(changes.iter().map(|(target, setting)| (target, setting.as_deref())), []);
            let expected = rendered(&only(changed.clone()));
            prop_assert_eq!(text.proposed(), expected.as_bytes());
            if is_accepted {
                text.accept();
                settings = changed;
            }
        }
    }

    #[test]
    fn rendering_and_parsing_round_trips(stored in any_stored()) {
        prop_assert_eq!(parse(rendered(&stored).as_bytes()), Ok(stored));
    }

    #[test]
    fn each_entry_has_its_own_line(settings in any_settings()) {
        let lines = if settings.is_empty() { 1 } else { settings.len() + 2 };
        prop_assert_eq!(rendered(&only(settings)).lines().count(), lines);
    }

    #[test]
    fn parsing_any_text_never_panics(text in any::<Vec<u8>>()) {
        let _ = parse(&text);
    }

    #[test]
    fn truncated_text_is_refused(stored in any_stored(), at in any::<prop::sample::Index>()) {
        let text = rendered(&stored);
        let without_last_newline = text.len() - 1;
        prop_assert!(parse(&text.as_bytes()[..at.index(without_last_newline)]).is_err());
    }

    #[test]
    fn parsing_damaged_text_never_panics(
        stored in any_stored(), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()
    ) {
        let mut text = rendered(&stored).into_bytes();
        let at = at.index(text.len());
        text[at] = byte;
        if cut {
            text.truncate(at);
        }
        let _ = parse(&text);
    }
}
