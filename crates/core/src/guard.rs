//! The guard: counts that the API server itself keeps, by admission policies.
//!
//! The server keeps one object in each namespace with the counts that it enforces there. The policies look a count up in
//! it, and correct, refuse or comment a write of another one before it is stored.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::kind::Kind;
use crate::policy::Policy;
use crate::replicas::Replicas;
use crate::setting::{Enforcement, Setting, Settings};
use crate::target::Target;

/// How many counts one namespace may have. Each write of the object repeats all of them.
pub const MAX_COUNTS: usize = 5_000;
/// How many bytes they may have, about. The API server refuses objects of 1.5 MB.
const MAX_BYTES: usize = 1_000_000;
/// How many bytes a count has besides its texts, about.
const COUNT_BYTES: usize = 60;
/// The longest name of a user that a policy shows, in bytes.
const LONGEST_USER: usize = 64;
/// The longest reason that a policy shows, in bytes.
const LONGEST_REASON: usize = 128;

/// What the API server does with a write of another count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// It stores it, and warns the client.
    Warn,
    /// It refuses it.
    Deny,
    /// It stores the kept count instead.
    Correct,
}

impl Mode {
    /// All modes.
    pub const ALL: [Self; 3] = [Self::Warn, Self::Deny, Self::Correct];

    /// The name in objects and flags.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Warn => "warn",
            Self::Deny => "deny",
            Self::Correct => "correct",
        }
    }

    /// The mode with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.as_str() == name)
    }
}

/// A count that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The count.
    pub replicas: Replicas,
    /// The user who set it. `None`: not known.
    pub set_by: Option<String>,
    /// Why, as given by that user.
    pub reason: Option<String>,
}

impl Kept {
    fn of(setting: &Setting) -> Self {
        // A message of a policy has one line.
        let shorten = |text: &Option<String>, longest: usize| {
            let text = text.as_deref()?;
            Some(text[..text.floor_char_boundary(longest)].replace(char::is_control, " "))
        };
        Self {
            replicas: setting.replicas,
            set_by: shorten(&setting.set_by, LONGEST_USER),
            reason: shorten(&setting.reason, LONGEST_REASON),
        }
    }
}

/// The counts that are kept in one namespace, by [`key`].
pub type Counts = BTreeMap<String, Kept>;

/// How a policy names a target within its namespace: `RESOURCE/NAME`.
pub fn key(target: &Target) -> String {
    format!("{}/{}", target.kind().resource(), target.name())
}

/// The target of a [`key`] in a namespace. `None`: it is no such name.
pub fn target(namespace: &str, key: &str) -> Option<Target> {
    let (resource, name) = key.split_once('/')?;
    Target::new(Kind::from_resource(resource)?, namespace, name).ok()
}

/// What the guard of one namespace should keep.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The counts.
    pub counts: Counts,
    /// How many more there would be without limits.
    pub left_out: usize,
    /// When this changes by itself, because enforcement resumes or a temporary count ends.
    pub changes_at: Option<Timestamp>,
}

impl Wanted {
    /// What to keep in `namespace` at `now`: exactly what would be repaired, except what an autoscaler targets. (Where the
    /// API server corrects counts, an autoscaler would scale for ever without noticing.)
    pub fn of(
        namespace: &str,
        settings: &Settings,
        policy: &Policy,
        is_autoscaled: impl Fn(&Target) -> bool,
        now: Timestamp,
    ) -> Self {
        let mut wanted = Self::default();
        let mut bytes = 0;
        let Ok(first) = Target::first_in(namespace) else { return wanted };
        for (target, setting) in
            settings.range(first..).take_while(|(target, _)| target.namespace() == namespace)
        {
            if policy.scope.check(target).is_err() || is_autoscaled(target) {
                continue;
            }
            let Some(setting) = &setting.at(now) else { continue };
            let enforcement = policy.enforcement(setting, now);
            wanted.change_at(match enforcement {
                Enforcement::Enforce => setting.hold.map(|hold| hold.until),
                Enforcement::Ignore { until } => until,
            });
            match enforcement {
                Enforcement::Enforce if wanted.counts.len() < MAX_COUNTS && bytes < MAX_BYTES => {
                    let (key, kept) = (key(target), Kept::of(setting));
                    let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
                    bytes += key.len() + length(&kept.set_by) + length(&kept.reason) + COUNT_BYTES;
                    wanted.counts.insert(key, kept);
                }
                Enforcement::Enforce => wanted.left_out += 1,
                Enforcement::Ignore { .. } => {}
            }
        }
        wanted
    }

    /// Records that this also changes at a time.
    fn change_at(&mut self, time: Option<Timestamp>) {
        self.changes_at = self.changes_at.into_iter().chain(time).min();
    }
}

/// Whether the API server keeps the count of a target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum GuardState {
    /// It does not: the count is watched and repaired.
    #[default]
    Unguarded,
    /// It will soon, with the desired count. Before that, a write could be undone or refused.
    Behind,
    /// It does.
    InForce(Mode),
    /// Somebody has suspended the guard of the namespace, and with it the repairs.
    Suspended,
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::setting::Hold;

    fn count(n: i32) -> Replicas {
        Replicas::new(n).expect("valid")
    }

    fn target(namespace: &str, name: &str) -> Target {
        Target::deployment(namespace, name).expect("valid")
    }

    fn settings(of: impl IntoIterator<Item = (Target, Setting)>) -> Settings {
        of.into_iter().map(|(target, setting)| (target, Arc::new(setting))).collect()
    }

    #[test]
    fn what_would_be_repaired_is_kept() {
        let at = |second| Timestamp::from_second(second).expect("in range");
        let until = |second| Enforcement::Ignore { until: Some(at(second)) };
        let ignored = |enforcement| Setting { enforcement, ..Setting::of(count(1)) };
        let hold = |afterwards: Option<i32>| Some(Hold { until: at(15), afterwards: afterwards.map(count) });
        let settings = settings([
            (target("shop", "web"), Setting { set_by: Some("ann".to_owned()), ..Setting::of(count(3)) }),
            (Target::new(Kind::StatefulSet, "shop", "web").expect("valid"), Setting::of(count(2))),
            (target("shop", "scaled"), Setting::of(count(4))),
            (target("shop", "ignored"), ignored(Enforcement::Ignore { until: None })),
            (target("shop", "until-20"), ignored(until(20))),
            (target("shop", "until-30"), ignored(until(30))),
            (target("shop", "held"), Setting { hold: hold(Some(8)), ..Setting::of(count(7)) }),
            (target("shop", "only-held"), Setting { hold: hold(None), ..Setting::of(count(7)) }),
            (target("sho", "web"), Setting::of(count(5))),
            (target("shop2", "web"), Setting::of(count(6))),
        ]);
        let mut policy = Policy::default();
        let wanted = |policy: &Policy, second| {
            Wanted::of("shop", &settings, policy, |target| target.name() == "scaled", at(second))
        };
        let names = |wanted: &Wanted| wanted.counts.keys().cloned().collect::<Vec<_>>();

        let now = wanted(&policy, 0);
        let held = ["deployments/held", "deployments/only-held", "deployments/web", "statefulsets/web"];
        assert_eq!(names(&now), held);
        let kept = Kept { replicas: count(3), set_by: Some("ann".to_owned()), reason: None };
        assert_eq!(now.counts["deployments/web"], kept);
        assert_eq!((now.changes_at, now.left_out), (Some(at(15)), 0));
        let replicas = |wanted: &Wanted| wanted.counts["deployments/held"].replicas;
        assert_eq!(replicas(&now), count(7));

        let later = wanted(&policy, 15);
        assert_eq!(names(&later), ["deployments/held", "deployments/web", "statefulsets/web"]);
        assert_eq!((replicas(&later), later.changes_at), (count(8), Some(at(20))));
        let later = wanted(&policy, 20);
        let resumed = ["deployments/held", "deployments/until-20", "deployments/web", "statefulsets/web"];
        assert_eq!(names(&later), resumed);
        assert_eq!(later.changes_at, Some(at(30)));

        policy.enforcement = Enforcement::Ignore { until: None };
        assert_eq!(wanted(&policy, 0), Wanted::default());
        policy = Policy::default();
        policy.scope.excluded.insert("shop".to_owned());
        assert_eq!(wanted(&policy, 0), Wanted::default());
    }

    #[test]
    fn a_target_is_found_by_its_key() {
        for kind in Kind::ALL {
            let web = Target::new(kind, "shop", "web").expect("valid");
            assert_eq!(super::target("shop", &key(&web)), Some(web));
        }
        for key in ["web", "pods/web", "deployments/", "deployments/a/b"] {
            assert_eq!(super::target("shop", key), None, "{key}");
        }
    }

    #[test]
    fn the_counts_of_a_namespace_are_limited() {
        let many = (0..=MAX_COUNTS).map(|n| (target("shop", &format!("web-{n:05}")), Setting::of(count(1))));
        let wanted =
            Wanted::of("shop", &settings(many), &Policy::default(), |_| false, Timestamp::UNIX_EPOCH);
        assert_eq!((wanted.counts.len(), wanted.left_out), (MAX_COUNTS, 1));
    }

    #[test]
    fn texts_become_short_lines() {
        for (reason, expected) in [
            (format!("{}ü", "x".repeat(LONGEST_REASON - 1)), "x".repeat(LONGEST_REASON - 1)),
            ("a\nb\tc".to_owned(), "a b c".to_owned()),
        ] {
            let setting = Setting { reason: Some(reason), ..Setting::of(count(1)) };
            assert_eq!(Kept::of(&setting).reason, Some(expected));
        }
    }
}
