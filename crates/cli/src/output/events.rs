//! Events as tables and as objects.

use jiff::{SignedDuration, Timestamp};
use replica_count_api::proto::{AuthorCertainty, Event, EventType};
use serde_json::Value;

use super::objects::{present, text, time};
use super::table::Table;
use super::words;
use crate::duration::{age, human};
use crate::target::{Target, kind_name};

/// What happened, in a word or two.
pub fn word(event_type: EventType) -> &'static str {
    match event_type {
        EventType::EventUnspecified => "unknown",
        EventType::EventSet => "set",
        EventType::EventDeleted => "deleted",
        EventType::EventEnforced => "enforced",
        EventType::EventIgnored => "ignored",
        EventType::EventDrifted => "drifted",
        EventType::EventAnotherServer => "another-server",
        EventType::EventRepaired => "repaired",
        EventType::EventApplied => "applied",
        EventType::EventResolved => "resolved",
        EventType::EventLateCost => "late-cost",
        EventType::EventContested => "contested",
        EventType::EventCalmed => "calmed",
        EventType::EventSteadyConflict => "steady-conflict",
        EventType::EventSteadyConflictEnded => "steady-conflict-ended",
        EventType::EventMissing => "missing",
        EventType::EventAutoscaled => "autoscaled",
        EventType::EventWriteFailed => "write-failed",
        EventType::EventHoldEnded => "temporary-ended",
    }
}

/// How sure it is who caused an event.
fn certainty(event: &Event) -> &'static str {
    match event.certainty() {
        AuthorCertainty::AuthorUnknown => "-",
        AuthorCertainty::AuthorProven => "proven",
        AuthorCertainty::AuthorClaimed => "claimed",
        AuthorCertainty::AuthorSuspected => "suspected",
    }
}

/// The count before and after.
fn counts(event: &Event) -> String {
    match (event.from, event.to) {
        (None, None) => "-".to_owned(),
        (None, Some(to)) => to.to_string(),
        (Some(from), None) => format!("{from} -> -"),
        (Some(from), Some(to)) => format!("{from} -> {to}"),
    }
}

/// Why, and until when.
fn reason(event: &Event) -> String {
    let until = event.until.and_then(words::time).map(|until| format!("until {}", words::second(until)));
    let wait = event.wait.as_ref().map(seconds).map(|wait| match event.r#type() {
        EventType::EventSteadyConflict => format!("every {wait}"),
        _ => format!("next try in {wait}"),
    });
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let parts = [text(&event.reason), text(&event.autoscaler), text(&event.message), until, wait];
    words::or_dash(&parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
}

/// At least a second, because nobody waits for less.
fn seconds(duration: &prost_types::Duration) -> String {
    human(SignedDuration::from_secs(duration.seconds.max(1)))
}

/// The workload of an event.
pub fn target(event: &Event) -> Target {
    Target { kind: event.kind(), name: event.name.clone() }
}

/// Which columns there are.
#[expect(clippy::struct_excessive_bools, reason = "each is a column")]
#[derive(Clone, Copy, Debug)]
pub struct Columns {
    /// How the author wrote, and what it cost.
    pub wide: bool,
    /// The namespace.
    pub namespace: bool,
    /// The workload.
    pub name: bool,
    /// The time instead of the age.
    pub times: bool,
}

impl Columns {
    /// The headers.
    pub fn headers(self) -> Vec<&'static str> {
        let columns = [
            (true, if self.times { "TIME" } else { "AGE" }),
            (self.namespace, "NAMESPACE"),
            (self.name, "NAME"),
            (true, "EVENT"),
            (true, "COUNT"),
            (true, "BY"),
            (true, "CERTAINTY"),
            (self.wide, "VIA"),
            (self.wide, "PODS-LOST"),
            (true, "REASON"),
        ];
        columns.into_iter().filter_map(|(shown, header)| shown.then_some(header)).collect()
    }

    /// The row of an event.
    pub fn row(self, event: &Event, now: Timestamp) -> Vec<String> {
        let at = event.at.and_then(words::time);
        let at = match at {
            Some(at) if self.times => words::second(at),
            Some(at) => age(at, now),
            None => "-".to_owned(),
        };
        let name = match target(event) {
            Target { kind: replica_count_api::proto::Kind::Deployment, name } => name,
            Target { kind, name } => format!("{}/{name}", kind_name(kind).to_ascii_lowercase()),
        };
        let via = [event.operation.as_str(), event.subresource.as_str()];
        let via = via.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" of ");
        let columns = [
            (true, at),
            (self.namespace, event.namespace.clone()),
            (self.name, name),
            (true, word(event.r#type()).to_owned()),
            (true, counts(event)),
            (true, words::or_dash(&event.by)),
            (true, certainty(event).to_owned()),
            (self.wide, words::or_dash(&via)),
            (self.wide, words::count(event.pods_lost)),
            (true, reason(event)),
        ];
        columns.into_iter().filter_map(|(shown, cell)| shown.then_some(cell)).collect()
    }

    /// A table of events.
    pub fn table(self, events: &[Event], headers: bool, now: Timestamp) -> Table {
        let names = self.headers();
        let event = names.iter().position(|header| *header == "EVENT").unwrap_or_default();
        let mut table = Table::new(headers.then_some(&names)).painted(event);
        for event in events {
            table.push(self.row(event, now));
        }
        table
    }
}

/// An event as an object.
pub fn object(event: &Event) -> Value {
    present([
        ("id", Some(event.id.into())),
        ("at", time(event.at)),
        ("type", Some(word(event.r#type()).into())),
        ("kind", Some(kind_name(event.kind()).into())),
        ("namespace", text(&event.namespace)),
        ("name", text(&event.name)),
        ("generation", (event.generation > 0).then(|| event.generation.into())),
        ("from", event.from.map(Value::from)),
        ("to", event.to.map(Value::from)),
        ("by", text(&event.by)),
        ("certainty", (!event.by.is_empty()).then(|| certainty(event).into())),
        ("operation", text(&event.operation)),
        ("subresource", text(&event.subresource)),
        ("reason", text(&event.reason)),
        ("message", text(&event.message)),
        ("code", event.code.map(Value::from)),
        ("podsLost", event.pods_lost.map(Value::from)),
        ("times", (event.times > 0).then(|| event.times.into())),
        ("until", time(event.until)),
        ("autoscaler", text(&event.autoscaler)),
    ])
}
