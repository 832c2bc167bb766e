//! Entries as they could happen, for dry runs and tests.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::entry::{Author, Entry, What};
use crate::managed_fields::{Operation, Writer};
use crate::replicas::Replicas;
use crate::target::Target;

/// The time of all samples, in seconds since 1970.
const SECOND: i64 = 1_767_225_600;

/// How long a write takes.
const MOMENT: Option<Duration> = Some(Duration::from_millis(12));

/// What could happen to a Deployment, with every field that such an event can have.
///
/// # Panics
///
/// If a name is not valid.
pub fn sample(namespace: &str, name: &str, what: What) -> Entry {
    let target = Target::deployment(namespace, name).expect("a valid name");
    let at = Timestamp::from_second(SECOND).expect("in range");
    let count = |count| Some(Replicas::new(count).expect("not negative"));
    let user = Some(Author::User("alice".into()));
    let kubectl =
        Writer { manager: "kubectl".into(), operation: Operation::Update, subresource: Some("scale".into()) };
    let manager = Some(Author::Manager(Arc::new(kubectl)));
    let mut entry = Entry { id: 1, ..Entry::blank(target, at, what, Some(1)) };
    match what {
        What::Set => {
            (entry.from, entry.to, entry.author) = (count(2), count(3), user);
            entry.reason = Some("sale".into());
        }
        What::Deleted => (entry.from, entry.author, entry.generation) = (count(3), user, None),
        What::Enforced => entry.author = user,
        What::Ignored => (entry.author, entry.until) = (user, Timestamp::from_second(SECOND + 3600).ok()),
        What::Drifted | What::AnotherServer | What::Resolved | What::LateCost => {
            (entry.from, entry.to, entry.author) = (count(3), count(7), manager);
            entry.times = (what == What::Drifted).then_some(1);
            entry.reason = (what == What::Resolved).then(|| "in_sync".into());
            entry.pods_lost = matches!(what, What::Resolved | What::LateCost).then_some(2);
        }
        What::Repaired => {
            (entry.from, entry.to, entry.author) = (count(7), count(3), manager);
            (entry.took, entry.pods_lost) = (MOMENT, Some(0));
        }
        What::Applied => (entry.from, entry.to, entry.took) = (count(7), count(3), MOMENT),
        What::Contested => (entry.author, entry.wait) = (manager, Some(Duration::from_secs(20))),
        What::SteadyConflict => {
            (entry.author, entry.wait, entry.times) = (manager, Some(Duration::from_secs(20)), Some(8));
        }
        What::HoldEnded => (entry.from, entry.to) = (count(9), count(3)),
        What::Calmed | What::SteadyConflictEnded | What::Missing => {}
        What::Autoscaled => entry.autoscaler = Some("HorizontalPodAutoscaler/web".into()),
        What::WriteFailed => {
            (entry.to, entry.author, entry.times) = (count(3), manager, Some(1));
            (entry.code, entry.wait) = (Some(403), Some(Duration::from_secs(1)));
            (entry.reason, entry.message) = (Some("forbidden".into()), Some("no right".into()));
        }
    }
    entry
}
