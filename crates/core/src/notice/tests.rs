//! What messages say, and that each fits the limits of its receiver.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

use super::alerts::{self, MAX_ALERTS, MAX_WORKLOADS, alerts};
use super::cloud_event::cloud_event;
use super::filter::RouteFilter;
use super::firing::Firing;
use super::slack::slack;
use super::teams::teams;
use super::text::{cut, grouped, title};
use super::*;
use crate::history::entry::{Entry, What};
use crate::history::sample::sample;
use crate::kind::Kind;
use crate::replicas::Replicas;
use crate::words::{ALL as ALL_EVENTS, Severity, usual_severity};

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
    notice_of(digest, links, &ALL)
}

/// A filter that takes everything.
static ALL: RouteFilter = RouteFilter {
    namespaces: Vec::new(),
    kinds: BTreeSet::new(),
    whats: BTreeSet::new(),
    severity: Severity::Info,
};

fn notice_of<'a>(digest: &'a Digest, links: &'a [Link], filter: &'a RouteFilter) -> Notice<'a> {
    Notice { id: "msg_1", route: "shop", filter, digest, links, at: Timestamp::UNIX_EPOCH }
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
        let bodies = alerts(&notice(&digest, &[]), &mut Firing::default());
        let mut alerts = bodies.iter().flat_map(|body| body.as_array().expect("an array"));
        let alert = alerts.find(|alert| alert["labels"]["alertname"] == name);
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
    check(&[What::Calmed], "ReplicaCountContested", None);
    check(&[What::Set, What::Repaired], "ReplicaCountDrifted", None);
    check(&[What::WriteFailed, What::Repaired], "ReplicaCountWriteFailed", Some(0));
    for (what, name) in [
        (What::Contested, "ReplicaCountContested"),
        (What::WriteFailed, "ReplicaCountWriteFailed"),
        (What::SteadyConflict, "ReplicaCountSteadyConflict"),
        (What::Missing, "ReplicaCountMissing"),
        (What::Autoscaled, "ReplicaCountAutoscaled"),
    ] {
        let is_of_count = matches!(what, What::Contested | What::WriteFailed);
        check(&[what, What::Deleted], name, Some(0));
        check(&[what, What::Set], name, Some(if is_of_count { 0 } else { 3600 }));
        check(&[what, What::HoldEnded], name, Some(if is_of_count { 0 } else { 3600 }));
    }
    check(&[What::Drifted, What::Deleted], "ReplicaCountDrifted", Some(300));
}

/// All alerts of a workload that can end.
fn firing(name: &str) -> Firing {
    let mut firing = Firing::default();
    for what in ALL_EVENTS.into_iter().filter(|what| usual_severity(*what) > Severity::Info) {
        firing.observe(&ALL, &sample("shop", name, what), Timestamp::UNIX_EPOCH);
    }
    firing
}

#[test]
fn a_change_of_a_setting_ends_the_alerts_of_what_it_ends() {
    let ended = |what: What, from: Option<i32>, to: Option<i32>| {
        let count = |n: Option<i32>| n.and_then(|n| Replicas::new(n).ok());
        let mut digest = Digest::default();
        let entry = Entry { from: count(from), to: count(to), ..sample("shop", "web", what) };
        digest.add(&Arc::new(entry));
        let bodies = alerts(&notice(&digest, &[]), &mut firing("web"));
        let names = bodies.iter().flat_map(|body| body.as_array().expect("an array"));
        names.map(|alert| alert["labels"]["alertname"].to_string()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(ended(What::Set, None, Some(3)), "", "it was not managed before");
    assert_eq!(ended(What::Set, Some(3), Some(3)), "\"ReplicaCountWriteFailed\"");
    let other_count = "\"ReplicaCountContested\" \"ReplicaCountWriteFailed\"";
    assert_eq!(ended(What::Set, Some(3), Some(4)), other_count);
    assert_eq!(ended(What::HoldEnded, Some(3), Some(4)), other_count);
    assert!(ended(What::HoldEnded, Some(3), None).contains("ReplicaCountMissing"), "no longer managed");
}

#[test]
fn what_ends_an_alert_goes_to_each_route_that_got_it() {
    let check = |filter: &RouteFilter, what: What, expected: &[&str]| {
        let entry = sample("shop", "web", what);
        let mut firing = firing("web");
        let takes = alerts::takes(filter, &entry, &firing, None);
        assert_eq!(takes, !expected.is_empty(), "{filter:?} {what:?}");
        let mut digest = Digest::default();
        digest.add(&Arc::new(entry));
        let bodies = alerts(&notice_of(&digest, &[], filter), &mut firing);
        let all: Vec<_> = bodies.iter().flat_map(|body| body.as_array().expect("an array")).collect();
        let names: Vec<_> = all.iter().map(|alert| alert["labels"]["alertname"].as_str()).collect();
        assert_eq!(names, expected.iter().map(|name| Some(*name)).collect::<Vec<_>>(), "{what:?}");
    };
    let warnings = RouteFilter { severity: Severity::Warning, ..ALL.clone() };
    check(&warnings, What::Calmed, &["ReplicaCountContested"]);
    check(&warnings, What::Repaired, &["ReplicaCountMissing", "ReplicaCountWriteFailed"]);
    check(&warnings, What::Enforced, &[]);
    check(&RouteFilter { severity: Severity::Error, ..ALL.clone() }, What::Calmed, &[]);
    let errors = RouteFilter { severity: Severity::Error, ..ALL.clone() };
    check(&errors, What::Repaired, &["ReplicaCountWriteFailed"]);
    check(&errors, What::Drifted, &[]);
    let contested = RouteFilter { whats: [What::Contested].into(), ..ALL.clone() };
    check(&contested, What::Contested, &["ReplicaCountContested"]);
    check(&contested, What::Calmed, &["ReplicaCountContested"]);
    check(&contested, What::Repaired, &[]);
    let others = RouteFilter { namespaces: vec!["other".to_owned()], ..ALL.clone() };
    assert!(!alerts::takes(&others, &sample("shop", "web", What::Calmed), &firing("web"), None));
}

#[test]
fn all_alerts_of_a_mass_drift_are_sent_or_the_number_of_others_is_said() {
    let check = |workloads: usize, missed: u64, requests: usize, summary: Option<&str>| {
        let mut digest = Digest::with_room(MAX_WORKLOADS);
        for name in 0..workloads {
            digest.add(&Arc::new(sample("shop", &format!("web-{name}"), What::Drifted)));
        }
        digest.miss(missed);
        let bodies = alerts(&notice(&digest, &[]), &mut Firing::default());
        assert_eq!(bodies.len(), requests, "{workloads}");
        let all: Vec<_> = bodies.iter().flat_map(|body| body.as_array().expect("an array")).collect();
        assert!(bodies.iter().all(|body| body.as_array().is_some_and(|all| all.len() <= MAX_ALERTS)));
        let of_workloads = all.iter().filter(|alert| alert["labels"]["name"].is_string()).count();
        assert_eq!(of_workloads, workloads.min(MAX_WORKLOADS));
        let left_out = all.iter().find(|alert| alert["labels"]["alertname"] == "ReplicaCountAlertsLeftOut");
        assert_eq!(left_out.and_then(|alert| alert["annotations"]["summary"].as_str()), summary);
    };
    check(0, 0, 0, None);
    check(101, 0, 1, None);
    check(MAX_ALERTS + 1, 0, 2, None);
    let text = "Too much happened at once: the alerts of 1,234 workloads, or their ends, were left out, and 7 \
                events were missed";
    check(MAX_WORKLOADS + 1234, 7, 6, Some(text));
}

/// What a route sends: whether it takes each event, and the names of the alerts of each message.
#[derive(Default)]
struct Route {
    firing: Firing,
    digest: Option<Digest>,
    events: u64,
}

impl Route {
    fn add(&mut self, name: &str, what: What, second: i64) -> bool {
        self.events += 1;
        let at = Timestamp::from_second(second).expect("valid");
        let entry = Arc::new(Entry { id: self.events, at, ..sample("shop", name, what) });
        let takes = alerts::takes(&ALL, &entry, &self.firing, self.digest.as_ref());
        if takes {
            self.digest.get_or_insert_with(|| Digest::with_room(MAX_WORKLOADS)).add(&entry);
        }
        takes
    }

    /// The alerts of the next requests, with a `/` before those that have ended.
    fn send(&mut self, second: i64) -> Vec<Vec<String>> {
        let at = Timestamp::from_second(second).expect("valid");
        let Some(digest) = self.digest.take() else { return Vec::new() };
        let bodies = alerts(&Notice { at, ..notice(&digest, &[]) }, &mut self.firing);
        let text = |alert: &Value| {
            let ends_at: Timestamp = alert["endsAt"].as_str().expect("a time").parse().expect("valid");
            let name = alert["labels"]["alertname"].as_str().expect("a name");
            format!("{}{}", if ends_at > at { "" } else { "/" }, name.trim_start_matches("ReplicaCount"))
        };
        let request = |body: &Value| body.as_array().expect("an array").iter().map(text).collect();
        bodies.iter().map(request).collect()
    }
}

#[test]
fn only_an_alert_that_was_sent_is_ended_and_once() {
    let mut route = Route::default();
    for what in [What::Repaired, What::Applied, What::Set, What::Calmed, What::Deleted] {
        assert!(!route.add("web", what, 1), "{what:?}");
    }
    assert!(route.add("web", What::WriteFailed, 2));
    assert_eq!(route.send(3), [["WriteFailed"]]);
    assert!(!route.add("api", What::Repaired, 4), "another workload");
    assert!(!route.add("web", What::Enforced, 4));
    assert!(route.add("web", What::Drifted, 5));
    assert_eq!(route.send(6), [["Drifted"]], "the other one goes on");
    assert!(route.add("web", What::Repaired, 7));
    assert_eq!(route.send(8), [["/WriteFailed"]]);
    assert!(!route.add("web", What::Repaired, 9));
    assert!(route.add("web", What::Contested, 10) && route.add("web", What::Calmed, 11), "not sent yet");
    assert_eq!(route.send(12), [["/Contested"]]);
    assert!(route.add("web", What::Missing, 20));
    assert_eq!(route.send(21), [["Missing"]]);
    assert!(!route.add("web", What::Applied, 20 + 3600), "it has ended by itself");
}

#[test]
fn the_alerts_of_a_server_before_are_ended() {
    let mut firing = Firing::default();
    let observe = |firing: &mut Firing, what: What, now: i64| {
        let entry = sample("shop", "web", what);
        firing.observe(&ALL, &entry, Timestamp::from_second(entry.at.as_second() + now).expect("valid"));
        firing.has(&entry.target, What::Missing, entry.at)
    };
    assert!(!observe(&mut firing, What::Missing, 3600), "over");
    assert!(observe(&mut firing, What::Missing, 3599));
    assert!(observe(&mut firing, What::Drifted, 0));
    assert!(!observe(&mut firing, What::Applied, 0), "the server before has sent the end, too");
}

#[test]
fn a_mass_drift_with_repairs_is_few_requests_and_what_fires_comes_first() {
    let mut route = Route::default();
    for what in [What::Drifted, What::Repaired] {
        for name in 0..10_000 {
            route.add(&format!("web-{name}"), what, 1);
        }
    }
    assert_eq!(route.send(2).len(), 6);
    for name in 0..5000 {
        route.add(&format!("web-{name}"), What::Deleted, 3);
    }
    assert!(route.send(4).is_empty());
    for name in 0..1500 {
        route.add(&format!("a-{name}"), What::Missing, 5);
    }
    assert_eq!(route.send(6).len(), 2);
    for name in 0..1500 {
        route.add(&format!("a-{name}"), What::Deleted, 7);
        route.add(&format!("b-{name}"), What::Missing, 7);
    }
    let requests = route.send(8);
    let all: Vec<_> = requests.iter().flatten().collect();
    assert_eq!((requests.len(), all.len()), (3, 3000));
    assert!(all[..1500].iter().all(|name| *name == "Missing"), "{:?}", &all[..10]);
    assert!(all[1500..].iter().all(|name| *name == "/Missing"));
}
