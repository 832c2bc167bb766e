//! Converts entries of the history to protobuf.

use replica_count_core::history::entry::{Author, Entry, What};
use replica_count_core::managed_fields::Writer;
use replica_count_core::replicas::Replicas;

use crate::proto;
use crate::response::{duration, generation, timestamp};

impl From<What> for proto::EventType {
    fn from(what: What) -> Self {
        match what {
            What::Set => Self::EventSet,
            What::Deleted => Self::EventDeleted,
            What::Enforced => Self::EventEnforced,
            What::Ignored => Self::EventIgnored,
            What::Drifted => Self::EventDrifted,
            What::AnotherServer => Self::EventAnotherServer,
            What::Repaired => Self::EventRepaired,
            What::Applied => Self::EventApplied,
            What::Resolved => Self::EventResolved,
            What::LateCost => Self::EventLateCost,
            What::Contested => Self::EventContested,
            What::Calmed => Self::EventCalmed,
            What::SteadyConflict => Self::EventSteadyConflict,
            What::SteadyConflictEnded => Self::EventSteadyConflictEnded,
            What::Missing => Self::EventMissing,
            What::Autoscaled => Self::EventAutoscaled,
            What::WriteFailed => Self::EventWriteFailed,
            What::HoldEnded => Self::EventHoldEnded,
        }
    }
}

impl From<proto::EventType> for Option<What> {
    fn from(event_type: proto::EventType) -> Self {
        Some(match event_type {
            proto::EventType::EventUnspecified => return None,
            proto::EventType::EventSet => What::Set,
            proto::EventType::EventDeleted => What::Deleted,
            proto::EventType::EventEnforced => What::Enforced,
            proto::EventType::EventIgnored => What::Ignored,
            proto::EventType::EventDrifted => What::Drifted,
            proto::EventType::EventAnotherServer => What::AnotherServer,
            proto::EventType::EventRepaired => What::Repaired,
            proto::EventType::EventApplied => What::Applied,
            proto::EventType::EventResolved => What::Resolved,
            proto::EventType::EventLateCost => What::LateCost,
            proto::EventType::EventContested => What::Contested,
            proto::EventType::EventCalmed => What::Calmed,
            proto::EventType::EventSteadyConflict => What::SteadyConflict,
            proto::EventType::EventSteadyConflictEnded => What::SteadyConflictEnded,
            proto::EventType::EventMissing => What::Missing,
            proto::EventType::EventAutoscaled => What::Autoscaled,
            proto::EventType::EventWriteFailed => What::WriteFailed,
            proto::EventType::EventHoldEnded => What::HoldEnded,
        })
    }
}

/// An author on the wire.
#[derive(Default)]
struct Words<'a> {
    by: &'a str,
    certainty: proto::AuthorCertainty,
    operation: &'a str,
    subresource: &'a str,
}

impl<'a> Words<'a> {
    fn of(author: Option<&'a Author>) -> Self {
        match author {
            None => Self::default(),
            Some(Author::User(by)) => {
                Self { by, certainty: proto::AuthorCertainty::AuthorProven, ..Self::default() }
            }
            Some(Author::Suspected(by)) => {
                Self { by, certainty: proto::AuthorCertainty::AuthorSuspected, ..Self::default() }
            }
            Some(Author::Manager(writer)) => {
                let Writer { manager, operation, subresource } = &**writer;
                Self {
                    by: manager,
                    certainty: proto::AuthorCertainty::AuthorClaimed,
                    operation: operation.as_str(),
                    subresource: subresource.as_deref().unwrap_or_default(),
                }
            }
        }
    }
}

impl From<&Entry> for proto::Event {
    fn from(entry: &Entry) -> Self {
        let Words { by, certainty, operation, subresource } = Words::of(entry.author.as_ref());
        Self {
            id: generation(entry.id),
            name: entry.target.name().to_owned(),
            namespace: entry.target.namespace().to_owned(),
            kind: proto::Kind::from(entry.target.kind()).into(),
            r#type: proto::EventType::from(entry.what).into(),
            at: Some(timestamp(entry.at)),
            generation: generation(entry.generation.unwrap_or_default()),
            from: entry.from.map(Replicas::get),
            to: entry.to.map(Replicas::get),
            by: by.to_owned(),
            certainty: certainty.into(),
            operation: operation.to_owned(),
            subresource: subresource.to_owned(),
            reason: entry.reason.as_deref().unwrap_or_default().to_owned(),
            message: entry.message.as_deref().unwrap_or_default().to_owned(),
            code: entry.code.map(i32::from),
            took: entry.took.map(duration),
            wait: entry.wait.map(duration),
            pods_lost: entry.pods_lost.map(|pods| i32::try_from(pods).unwrap_or(i32::MAX)),
            times: generation(entry.times.unwrap_or_default()),
            until: entry.until.map(timestamp),
            autoscaler: entry.autoscaler.as_deref().unwrap_or_default().to_owned(),
        }
    }
}

/// The drift of an entry, without what it has cost, which was not known yet.
pub fn drift(entry: &Entry) -> proto::Drift {
    let Words { by, certainty, operation, subresource } = Words::of(entry.author.as_ref());
    let is_suspected = certainty == proto::AuthorCertainty::AuthorSuspected;
    let (by, likely_by) = if is_suspected { ("", by) } else { (by, "") };
    proto::Drift {
        by: by.to_owned(),
        operation: operation.to_owned(),
        subresource: subresource.to_owned(),
        at: Some(timestamp(entry.at)),
        from: entry.from.map(Replicas::get),
        to: entry.to.map(Replicas::get),
        likely_by: likely_by.to_owned(),
        pods_lost: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_of_event_can_be_asked_for() {
        let mut types = 0;
        for number in 1.. {
            let Ok(event_type) = proto::EventType::try_from(number) else { break };
            let what = Option::<What>::from(event_type).expect("known");
            assert_eq!(proto::EventType::from(what), event_type);
            types += 1;
        }
        assert_eq!(types, 18);
    }
}
