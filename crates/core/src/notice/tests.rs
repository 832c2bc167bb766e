//! What messages say, and that each fits the limits of its receiver.

use std::sync::Arc;

use serde_json::Value;

use super::alerts::alerts;
use super::cloud_event::cloud_event;
use super::filter::RouteFilter;
use super::slack::slack;
use super::teams::teams;
use super::text::{cut, grouped, title};
use super::*;
use crate::history::entry::{Entry, What};
use crate::history::sample::sample;
use crate::kind::Kind;
use crate::words::Severity;

/// What happened, in this order.
fn digest(events: &[(&str, What)]) -> Digest {
    let mut digest = Digest::default();
    for (id, (name, what)) in (1..).zip(events) {
        digest.add(&Arc::new(Entry { id, ..sample("shop", name, *what) }));
    }
    digest
}

fn mass(workloads: usize) -> Digest {
    let mut digest = Digest::default();
    for id in 0..workloads {
        let mut entry = sample(&"n".repeat(63), &format!("{id}-{}", "w".repeat(200)), What::WriteFailed);
        (entry.id, entry.message) = (id as u64 + 1, Some("<&>".repeat(300).into()));
        digest.add(&Arc::new(entry));
    }
    digest
}

fn notice<'a>(digest: &'a Digest, links: &'a [Link]) -> Notice<'a> {
    Notice { id: "msg_1", route: "shop", digest, links, at: Timestamp::UNIX_EPOCH }
}

#[test]
fn a_route_takes_what_passes_its_filter() {
    let check = |filter: RouteFilter, what: What, expected: bool| {
        assert_eq!(filter.matches(&sample("shop", "web", what)), expected, "{filter:?} {what:?}");
    };
    let namespaces = |names: &[&str]| RouteFilter {
        namespaces: names.iter().map(|name| (*name).to_owned()).collect(),
        ..RouteFilter::default()
    };
    check(RouteFilter::default(), What::Set, true);
    check(namespaces(&["shop"]), What::Set, true);
    check(namespaces(&["sh*", "other"]), What::Set, true);
    check(namespaces(&["other", "sho", "x*"]), What::Set, false);
    let severity = |severity| RouteFilter { severity, ..RouteFilter::default() };
    check(severity(Severity::Warning), What::Drifted, true);
    check(severity(Severity::Warning), What::Repaired, false);
    check(severity(Severity::Error), What::Drifted, false);
    let kinds = RouteFilter { kinds: [Kind::StatefulSet].into(), ..RouteFilter::default() };
    check(kinds, What::Set, false);
    let whats = RouteFilter { whats: [What::Set].into(), ..RouteFilter::default() };
    check(whats.clone(), What::Set, true);
    check(whats, What::Deleted, false);
}

#[test]
fn the_title_says_how_much_happened() {
    let drift = [("web", What::Drifted), ("web", What::Repaired)];
    assert_eq!(title(&digest(&drift)), "Deployment shop/web: 1 drifted, 1 repaired");
    let two = [("web", What::Drifted), ("api", What::Drifted)];
    assert_eq!(title(&digest(&two)), "2 workloads: 2 drifted");
    assert_eq!(title(&mass(10_000)), "10,000 workloads: 10,000 with failed writes");
    let mut missed = Digest::default();
    missed.miss(3);
    assert_eq!(title(&missed), "Events were missed");
    assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    assert_eq!((cut("abc", 3), cut("äbcd", 3)), ("abc".to_owned(), "äb…".to_owned()));
}

#[test]
fn a_mass_drift_is_counted_and_its_memory_is_bounded() {
    let mut digest = mass(5000);
    assert_eq!((digest.workloads(), digest.total(), digest.stories().len()), (5000, 5000, 100));
    for id in 0..1000 {
        digest.add(&Arc::new(Entry { id, ..sample("shop", "web", What::AnotherServer) }));
    }
    assert_eq!((digest.workloads(), digest.total()), (5001, 6000), "one more workload without a story");
    let mut digest = Digest::default();
    for name in 0..200 {
        digest.add(&Arc::new(sample("shop", &format!("web-{name}"), What::Drifted)));
    }
    digest.add(&Arc::new(sample("shop", "broken", What::WriteFailed)));
    assert_eq!((digest.workloads(), digest.stories().len()), (201, 100));
    assert_eq!(digest.stories()[0].0.name(), "broken", "the most serious is told of, and first");
}

/// Slack's limits, as it documents and enforces them.
fn check_slack(body: &Value) {
    let blocks = body["blocks"].as_array().expect("blocks");
    assert!((1..=50).contains(&blocks.len()), "{}", blocks.len());
    let length = |text: &Value| text.as_str().expect("a text").chars().count();
    let mut all = 0;
    for block in blocks {
        let (text, limit) = match block["type"].as_str().expect("a type") {
            "header" => (&block["text"]["text"], 150),
            "section" => (&block["text"]["text"], 3000),
            _ => (&block["elements"][0]["text"], 2000),
        };
        assert!((1..=limit).contains(&length(text)), "{block}");
        all += length(text);
    }
    assert!(all < 13_000, "{all}");
    assert!(length(&body["text"]) < 4000);
}

#[test]
fn a_slack_message_fits_and_escapes() {
    let long = format!("https://a/{}/{{name}}", "x".repeat(2000));
    let links =
        ["https://a/{name}?x=1&y=2", &*long, &*long].map(|url| Link::new("<Look>", url).expect("valid"));
    let check = |digest: &Digest, links: &[Link]| {
        let body = slack(&notice(digest, links));
        check_slack(&body);
        body
    };
    for workloads in [1, 20, 21, 10_000] {
        for links in [&[][..], &links, &links[1..]] {
            check(&mass(workloads), links);
        }
    }
    let drift = digest(&[("web", What::Drifted), ("web", What::Repaired), ("web", What::Drifted)]);
    let body = check(&drift, &links[..1]);
    assert_eq!(body["blocks"][0]["text"]["text"], "⚠️ Deployment shop/web: 2 drifted, 1 repaired");
    let text = "*<https://a/web?x=1&amp;y=2|Deployment shop/web>*\nSet the count back from 7 to 3. \
                kubectl through scale changed the count from 3 to 7 (2×).";
    assert_eq!(body["blocks"][1]["text"]["text"], text);
    let body = check(&mass(10_000), &[]);
    let text = body["blocks"].as_array().and_then(|blocks| blocks.last()).expect("a context");
    let text = text["elements"][0]["text"].as_str().expect("a text");
    assert!(text.starts_with("And 9,9") && text.ends_with("more workloads. Route shop"), "{text}");
}

#[test]
fn a_teams_card_fits() {
    let link = Link::new("Look", "https://a/{name}").expect("valid");
    let body = teams(&notice(&mass(10_000), &[link]));
    assert!(body.to_string().len() < 28_000, "{}", body.to_string().len());
    let card = &body["attachments"][0]["content"];
    assert_eq!(card["body"].as_array().expect("a body").len(), 22);
    assert_eq!(card["actions"][0]["type"], "Action.OpenUrl");
    let set = teams(&notice(&digest(&[("web", What::Set)]), &[]));
    let text = &set["attachments"][0]["content"]["body"][1]["text"];
    assert_eq!(text, "**Deployment shop/web**  \nalice set the count to 3, before 2: sale.");
}

#[test]
fn a_cloud_event_has_every_field() {
    let drift = digest(&[("web", What::Drifted), ("web", What::Repaired)]);
    let body = cloud_event(&notice(&drift, &[]));
    assert_eq!((&body["specversion"], &body["subject"]), (&"1.0".into(), &"shop/deployment/web".into()));
    let (data, event) = (&body["data"], &body["data"]["events"][0]);
    assert_eq!((&data["total"], &data["counts"]["drifted"]), (&2.into(), &1.into()));
    assert_eq!((&event["type"], &event["from"], &event["to"]), (&"drifted".into(), &3.into(), &7.into()));
    assert_eq!((&event["by"]["name"], &event["by"]["subresource"]), (&"kubectl".into(), &"scale".into()));
    let body = cloud_event(&notice(&mass(10_000), &[]));
    assert_eq!((&body["subject"], &body["data"]["workloads"]), (&Value::Null, &10_000.into()));
    assert_eq!(body["data"]["events"].as_array().map(Vec::len), Some(100));
}

#[test]
fn an_alert_fires_until_something_ends_it() {
    let check = |events: &[What], name: &str, seconds: Option<i64>| {
        let events: Vec<_> = events.iter().map(|what| ("web", *what)).collect();
        let digest = digest(&events);
        let alerts = alerts(&notice(&digest, &[]));
        let alerts = alerts.as_array().expect("an array");
        let alert = alerts.iter().find(|alert| alert["labels"]["alertname"] == name);
        let time = |alert: &Value, field: &str| {
            alert[field].as_str().expect("a time").parse::<Timestamp>().expect("valid").as_second()
        };
        let lasts = alert.map(|alert| time(alert, "endsAt") - time(alert, "startsAt"));
        assert_eq!(lasts, seconds, "{events:?} {name}");
    };
    check(&[What::Drifted], "ReplicaCountDrifted", Some(300));
    check(&[What::Drifted, What::Repaired], "ReplicaCountDrifted", Some(300));
    check(&[What::Contested], "ReplicaCountContested", Some(3600));
    check(&[What::Contested, What::Calmed], "ReplicaCountContested", Some(0));
    check(&[What::Calmed, What::Contested], "ReplicaCountContested", Some(3600));
    check(&[What::Calmed], "ReplicaCountContested", Some(0));
    check(&[What::Set, What::Repaired], "ReplicaCountDrifted", None);
    check(&[What::WriteFailed, What::Repaired], "ReplicaCountWriteFailed", Some(0));
}
