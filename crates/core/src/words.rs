//! What an entry of the history says to people: a word, how serious it is, and a sentence.

use std::fmt::{self, Write as _};

use serde::{Deserialize, Serialize};

use crate::history::entry::{Author, Entry, What};
use crate::replicas::Replicas;

/// How serious something is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Nothing is wrong.
    #[default]
    Info,
    /// Somebody should know.
    Warning,
    /// Somebody has to do something.
    Error,
}

impl Severity {
    /// All, the least serious first.
    pub const ALL: [Self; 3] = [Self::Info, Self::Warning, Self::Error];

    /// Its stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// All kinds of events.
pub const ALL: [What; 18] = [
    What::Set,
    What::Deleted,
    What::Enforced,
    What::Ignored,
    What::Drifted,
    What::AnotherServer,
    What::Repaired,
    What::Applied,
    What::Resolved,
    What::LateCost,
    What::Contested,
    What::Calmed,
    What::SteadyConflict,
    What::SteadyConflictEnded,
    What::Missing,
    What::Autoscaled,
    What::WriteFailed,
    What::HoldEnded,
];

/// Its stable name, as in stored entries.
pub fn name(what: What) -> &'static str {
    match what {
        What::Set => "set",
        What::Deleted => "deleted",
        What::Enforced => "enforced",
        What::Ignored => "ignored",
        What::Drifted => "drifted",
        What::AnotherServer => "another_server",
        What::Repaired => "repaired",
        What::Applied => "applied",
        What::Resolved => "resolved",
        What::LateCost => "late_cost",
        What::Contested => "contested",
        What::Calmed => "calmed",
        What::SteadyConflict => "steady_conflict",
        What::SteadyConflictEnded => "steady_conflict_ended",
        What::Missing => "missing",
        What::Autoscaled => "autoscaled",
        What::WriteFailed => "write_failed",
        What::HoldEnded => "hold_ended",
    }
}

/// The kind with this name.
pub fn from_name(text: &str) -> Option<What> {
    ALL.into_iter().find(|what| name(*what) == text)
}

/// The reason of a Kubernetes Event, and a part of the name of an alert.
pub fn reason(what: What) -> &'static str {
    match what {
        What::Set => "Set",
        What::Deleted => "SettingDeleted",
        What::Enforced => "Enforced",
        What::Ignored => "Ignored",
        What::Drifted => "Drifted",
        What::AnotherServer => "AnotherServer",
        What::Repaired => "Repaired",
        What::Applied => "Applied",
        What::Resolved => "Resolved",
        What::LateCost => "PodsLost",
        What::Contested => "Contested",
        What::Calmed => "Calmed",
        What::SteadyConflict => "SteadyConflict",
        What::SteadyConflictEnded => "SteadyConflictEnded",
        What::Missing => "Missing",
        What::Autoscaled => "Autoscaled",
        What::WriteFailed => "WriteFailed",
        What::HoldEnded => "TemporaryCountEnded",
    }
}

/// The action of a Kubernetes Event.
pub fn action(what: What) -> &'static str {
    match what {
        What::Set => "Set",
        What::Deleted => "Delete",
        What::Enforced => "Enforce",
        What::Ignored => "Ignore",
        What::Contested => "Delay",
        What::Repaired | What::Applied | What::WriteFailed => "Scale",
        What::Drifted
        | What::AnotherServer
        | What::Resolved
        | What::LateCost
        | What::Calmed
        | What::SteadyConflict
        | What::SteadyConflictEnded
        | What::Missing
        | What::Autoscaled
        | What::HoldEnded => "Observe",
    }
}

/// How serious such events are.
pub fn usual_severity(what: What) -> Severity {
    match what {
        What::AnotherServer | What::WriteFailed => Severity::Error,
        What::Drifted | What::Contested | What::SteadyConflict | What::Missing | What::Autoscaled => {
            Severity::Warning
        }
        What::Set
        | What::Deleted
        | What::Enforced
        | What::Ignored
        | What::Repaired
        | What::Applied
        | What::Resolved
        | What::LateCost
        | What::Calmed
        | What::SteadyConflictEnded
        | What::HoldEnded => Severity::Info,
    }
}

/// What follows a number of events, such as "drifted".
pub fn counted(what: What) -> &'static str {
    match what {
        What::Set => "set",
        What::Deleted => "no longer managed",
        What::Enforced => "enforced",
        What::Ignored => "ignored",
        What::Drifted => "drifted",
        What::AnotherServer => "changed by another server",
        What::Repaired => "repaired",
        What::Applied => "applied",
        What::Resolved => "resolved",
        What::LateCost => "with more pods lost",
        What::Contested => "contested",
        What::Calmed => "calmed",
        What::SteadyConflict => "in a steady conflict",
        What::SteadyConflictEnded => "no longer in a steady conflict",
        What::Missing => "missing",
        What::Autoscaled => "autoscaled",
        What::WriteFailed => "with failed writes",
        What::HoldEnded => "with a temporary count that has ended",
    }
}

/// When such events happen.
pub fn meaning(what: What) -> &'static str {
    match what {
        What::Set => "a count was stored",
        What::Deleted => "a setting was deleted",
        What::Enforced => "a setting is enforced from now on",
        What::Ignored => "a setting is ignored from now on, perhaps until a time",
        What::Drifted => "somebody changed the count",
        What::AnotherServer => "another replica-count-manager changed the count",
        What::Repaired => "the desired count was written back",
        What::Applied => "a new setting was put into effect",
        What::Resolved => "a drift ended without an acknowledged write of the server",
        What::LateCost => "a drift has cost more pods than was said with its end",
        What::Contested => "somebody keeps changing the count: repairs are delayed",
        What::Calmed => "nobody changes a contested count any more",
        What::SteadyConflict => "somebody changes the count again and again, too slowly to be delayed",
        What::SteadyConflictEnded => "there was no round of a steady conflict for long enough",
        What::Missing => "the workload does not exist, or is being deleted",
        What::Autoscaled => "an autoscaler targets the workload, too, or none does any more",
        What::WriteFailed => "a write of the count failed, and is tried again",
        What::HoldEnded => "a temporary count has ended, and the setting before it is in force again",
    }
}

/// How serious an event is.
pub fn severity(entry: &Entry) -> Severity {
    match entry.what {
        // No autoscaler targets it any more.
        What::Autoscaled if entry.autoscaler.is_none() => Severity::Info,
        what => usual_severity(what),
    }
}

/// Who did it, at the beginning of a sentence.
pub fn author(entry: &Entry) -> impl fmt::Display {
    fmt::from_fn(|formatter| match &entry.author {
        None => formatter.write_str("Somebody unknown"),
        Some(Author::User(name)) => formatter.write_str(name),
        Some(Author::Suspected(name)) => write!(formatter, "Somebody, probably {name},"),
        Some(Author::Manager(writer)) => match writer.subresource.as_deref() {
            Some(subresource) => write!(formatter, "{} through {subresource}", writer.manager),
            None => formatter.write_str(&writer.manager),
        },
    })
}

/// A count for people.
fn count(replicas: Option<Replicas>) -> impl fmt::Display {
    fmt::from_fn(move |formatter| match replicas {
        Some(replicas) => write!(formatter, "{replicas}"),
        None => formatter.write_str("an unknown count"),
    })
}

/// What happened, in one sentence without a full stop.
pub fn sentence(entry: &Entry) -> String {
    let (by, from, to) = (author(entry), count(entry.from), count(entry.to));
    match entry.what {
        What::Set => set(entry),
        What::Deleted => format!("{by} deleted the setting: the count, {from}, is no longer managed"),
        What::Enforced => format!("{by} switched enforcement on"),
        What::Ignored => match entry.until {
            Some(until) => format!("{by} suspended enforcement until {until}"),
            None => format!("{by} suspended enforcement"),
        },
        What::Drifted => format!("{by} changed the count from {from} to {to}"),
        What::AnotherServer => {
            format!("Another replica-count-manager changed the count from {from} to {to}")
        }
        What::Repaired => format!("Set the count back from {from} to {to}"),
        What::Applied => format!("Changed the count from {from} to {to}, as it is set"),
        What::Resolved => resolved(entry),
        What::LateCost => {
            format!("The change from {from} to {to} has cost {} pods", entry.pods_lost.unwrap_or_default())
        }
        What::Contested => format!("{by} keeps changing the count: repairs are delayed"),
        What::Calmed => "Nobody changes the count any more: repairs are immediate again".to_owned(),
        What::SteadyConflict => format!("{by} changes the count again and again"),
        What::SteadyConflictEnded => "Nobody changes the count again and again any more".to_owned(),
        What::Missing => "The workload does not exist, or is being deleted".to_owned(),
        What::Autoscaled => match &entry.autoscaler {
            Some(autoscaler) => format!("{autoscaler} scales the workload, too"),
            None => "No autoscaler scales the workload any more".to_owned(),
        },
        What::WriteFailed => write_failed(entry),
        What::HoldEnded => match entry.to {
            Some(to) => format!("The temporary count {from} has ended: the count is {to} again"),
            None => format!("The temporary count {from} has ended: the count is no longer managed"),
        },
    }
}

fn set(entry: &Entry) -> String {
    let mut text = format!("{} set the count to {}", author(entry), count(entry.to));
    if let Some(from) = entry.from {
        let _ = write!(text, ", before {from}");
    }
    if let Some(until) = entry.until {
        let _ = write!(text, ", until {until}");
    }
    if let Some(reason) = &entry.reason {
        let _ = write!(text, ": {reason}");
    }
    text
}

fn resolved(entry: &Entry) -> String {
    match entry.reason.as_deref() {
        Some("drifted_again") => format!("The count {} was changed again", count(entry.to)),
        Some("new_setting") => format!("The change to {} is over: a new count was set", count(entry.to)),
        Some("no_longer_managed") => {
            format!("The change to {} stays: the count is no longer managed", count(entry.to))
        }
        _ => format!("The count is {} again, without a write of this server", count(entry.from)),
    }
}

fn write_failed(entry: &Entry) -> String {
    let mut text = format!("Writing the count {} failed", count(entry.to));
    if let Some(reason) = &entry.reason {
        let _ = write!(text, ": {reason}");
    }
    if let Some(code) = entry.code {
        let _ = write!(text, " ({code})");
    }
    if let Some(message) = entry.message.as_deref().filter(|message| !message.is_empty()) {
        let _ = write!(text, ": {message}");
    }
    text
}

/// What stays true when it happens again with other counts. `None`: each such event is told on its own.
pub fn lasting_sentence(entry: &Entry) -> Option<String> {
    let by = author(entry);
    match entry.what {
        What::Drifted => Some(format!("{by} changes the count; desired is {}", count(entry.from))),
        What::AnotherServer => Some("Another replica-count-manager changes the count".to_owned()),
        What::Repaired => Some(format!("Sets the count back to {}", count(entry.to))),
        What::Resolved => Some("Changes of the count ended without a write of this server".to_owned()),
        What::LateCost => Some("Changes of the count have cost pods".to_owned()),
        What::WriteFailed => {
            let reason = entry.reason.as_deref().unwrap_or("unknown");
            Some(format!("Writing the count {} fails: {reason}", count(entry.to)))
        }
        What::Set
        | What::Deleted
        | What::Enforced
        | What::Ignored
        | What::Applied
        | What::Contested
        | What::Calmed
        | What::SteadyConflict
        | What::SteadyConflictEnded
        | What::Missing
        | What::Autoscaled
        | What::HoldEnded => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::history::sample::sample;

    #[test]
    fn names_are_unique_and_those_of_stored_entries() {
        for what in ALL {
            assert_eq!(serde_json::to_value(what).expect("a name"), name(what));
            assert_eq!(from_name(name(what)), Some(what));
        }
        assert_eq!(BTreeSet::from(ALL.map(reason)).len(), ALL.len());
        assert_eq!(BTreeSet::from(ALL).len(), ALL.len());
    }

    #[test]
    fn the_story_of_a_drift_is_readable() {
        let check = |what: What, expected: &str| assert_eq!(sentence(&sample("shop", "web", what)), expected);
        check(What::Set, "alice set the count to 3, before 2: sale");
        check(What::Drifted, "kubectl through scale changed the count from 3 to 7");
        check(What::Repaired, "Set the count back from 7 to 3");
        check(What::Contested, "kubectl through scale keeps changing the count: repairs are delayed");
        check(What::WriteFailed, "Writing the count 3 failed: forbidden (403): no right");
        check(What::Autoscaled, "HorizontalPodAutoscaler/web scales the workload, too");
        check(What::Resolved, "The count is 3 again, without a write of this server");
        let unknown = Entry { author: None, ..sample("shop", "web", What::Drifted) };
        assert_eq!(sentence(&unknown), "Somebody unknown changed the count from 3 to 7");
    }

    #[test]
    fn a_lasting_sentence_does_not_say_which_count_was_found() {
        for what in ALL {
            let entry = sample("shop", "web", what);
            let text = lasting_sentence(&entry).unwrap_or_default();
            assert!(!text.contains('7'), "{text}");
        }
    }
}
