//! A Lease as one process has observed it, and when it may be taken over.
//!
//! Times in the object are for people. What counts is when this process saw the object change, on its own monotonic clock:
//! whoever holds it has written it before that.

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use crate::uid::Uid;

/// A Lease, with what matters of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Which object of this name it is.
    pub uid: Uid,
    /// Grows with each write.
    pub version: NonZeroU64,
    /// Who holds it.
    pub holder: Holder,
}

/// Who holds a Lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// Nobody yet. It may have been made in place of one that was deleted, whose holder may not know that yet.
    Never,
    /// Nobody any more: the last holder has given it up, and writes no more.
    Released,
    /// Somebody, for so long after their last write. `None`: they did not say.
    Somebody {
        /// Their identity.
        identity: String,
        /// How long they hold it.
        duration: Option<Duration>,
    },
    /// It cannot be read.
    Unreadable,
}

/// What was observed of a Lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observation {
    /// It is this.
    Present(Lease),
    /// It was deleted, in this version.
    Deleted(NonZeroU64),
    /// It does not exist.
    Absent,
}

/// What is known of a Lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// Nothing yet.
    Nothing,
    /// It does not exist.
    Absent,
    /// It exists, and has not changed since when this process saw it first.
    Present { lease: Lease, since: Instant },
}

/// How far something observed can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// A watch may show what is older than what is known.
    Watch,
    /// An answer is how it is, even if versions have gone back, as after a restored backup.
    Answer,
}

impl Lease {
    /// The identity of the holder, if it can be read.
    pub fn identity(&self) -> Option<&str> {
        match &self.holder {
            Holder::Somebody { identity, .. } => Some(identity),
            Holder::Never | Holder::Released | Holder::Unreadable => None,
        }
    }
}

impl Seen {
    /// Takes in what was observed at `now`. Returns whether it is news.
    pub(super) fn observe(&mut self, observed: Observation, source: Source, now: Instant) -> bool {
        let is_old =
            |version| source == Source::Watch && self.lease().is_some_and(|lease| version < lease.version);
        match observed {
            Observation::Deleted(version) if is_old(version) => false,
            Observation::Deleted(_) | Observation::Absent => {
                std::mem::replace(self, Self::Absent) != Self::Absent
            }
            Observation::Present(lease) if is_old(lease.version) || self.lease() == Some(&lease) => false,
            Observation::Present(lease) => {
                *self = Self::Present { lease, since: now };
                true
            }
        }
    }

    /// The object, if it exists.
    pub(super) fn lease(&self) -> Option<&Lease> {
        match self {
            Self::Present { lease, .. } => Some(lease),
            Self::Nothing | Self::Absent => None,
        }
    }

    /// When `me` may hold it. `own` is how long a process of this program holds it; nobody is given less. `None`: it is
    /// not known, or does not exist.
    pub(super) fn free_at(&self, me: &str, own: Duration) -> Option<Instant> {
        let Self::Present { lease, since } = self else { return None };
        Some(match &lease.holder {
            Holder::Released => *since,
            Holder::Somebody { identity, .. } if identity == me => *since,
            Holder::Somebody { duration, .. } => *since + duration.unwrap_or_default().max(own),
            Holder::Never | Holder::Unreadable => *since + own,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Duration = Duration::from_secs(15);

    fn lease(uid: &str, version: u64, holder: Holder) -> Lease {
        Lease { uid: uid.into(), version: NonZeroU64::new(version).expect("not 0"), holder }
    }

    fn held(identity: &str, duration: Option<u64>) -> Holder {
        Holder::Somebody { identity: identity.to_owned(), duration: duration.map(Duration::from_secs) }
    }

    /// When it is free for `a` after these observations, each so many seconds after the start.
    #[track_caller]
    fn check(observations: &[(u64, Option<Lease>)], expected: Option<u64>) {
        let start = Instant::now();
        let mut seen = Seen::Nothing;
        for (at, observed) in observations {
            let observed = observed.clone().map_or(Observation::Absent, Observation::Present);
            seen.observe(observed, Source::Watch, start + Duration::from_secs(*at));
        }
        let free_at = seen.free_at("a", OWN).map(|at| at.duration_since(start).as_secs());
        assert_eq!(free_at, expected, "{observations:?}");
    }

    #[test]
    fn it_is_free_when_it_has_not_changed_for_its_duration() {
        let b = |version, duration| Some(lease("u", version, held("b", duration)));
        check(&[], None);
        check(&[(1, b(1, Some(15)))], Some(16));
        check(&[(1, b(1, Some(15))), (9, b(1, Some(15)))], Some(16));
        check(&[(1, b(1, Some(15))), (9, b(2, Some(15)))], Some(24));
        check(&[(1, b(2, Some(15))), (9, b(1, Some(15)))], Some(16));
        // Others may hold it for longer; who says less, or nothing, is given what this program needs.
        check(&[(1, b(1, Some(3600)))], Some(3601));
        check(&[(1, b(1, Some(1)))], Some(16));
        check(&[(1, b(1, None))], Some(16));
        check(&[(1, Some(lease("u", 1, Holder::Unreadable)))], Some(16));
    }

    #[test]
    fn it_is_free_at_once_if_it_was_released_or_is_ones_own() {
        check(&[(1, Some(lease("u", 1, Holder::Released)))], Some(1));
        check(
            &[(1, Some(lease("u", 1, held("b", Some(15))))), (3, Some(lease("u", 2, Holder::Released)))],
            Some(3),
        );
        check(&[(1, Some(lease("u", 1, held("a", Some(15)))))], Some(1));
    }

    #[test]
    fn one_that_was_never_held_may_have_had_a_predecessor() {
        let (b, next) =
            (|| Some(lease("u", 1, held("b", Some(15)))), |version| Some(lease("v", version, Holder::Never)));
        check(&[(1, b()), (3, None)], None);
        check(&[(1, b()), (3, None), (5, next(2))], Some(20));
        check(&[(1, b()), (5, next(2))], Some(20));
        check(&[(1, b()), (5, next(2)), (6, next(3))], Some(21));
        check(&[(5, next(2))], Some(20));
    }

    #[test]
    fn a_watch_does_not_go_back_and_an_answer_does() {
        let start = Instant::now();
        let later = start + Duration::from_secs(5);
        let newer = || Observation::Present(lease("v", 9, held("b", Some(15))));
        for (older, source, is_news) in [
            (Observation::Present(lease("u", 8, Holder::Released)), Source::Watch, false),
            (Observation::Deleted(NonZeroU64::new(8).expect("not 0")), Source::Watch, false),
            (Observation::Deleted(NonZeroU64::new(10).expect("not 0")), Source::Watch, true),
            (Observation::Present(lease("u", 8, Holder::Released)), Source::Answer, true),
            (Observation::Absent, Source::Answer, true),
            (newer(), Source::Answer, false),
        ] {
            let mut seen = Seen::Nothing;
            seen.observe(newer(), Source::Watch, start);
            assert_eq!(seen.observe(older.clone(), source, later), is_news, "{older:?} {source:?}");
        }
    }
}
