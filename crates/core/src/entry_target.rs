//! The workload that an entry of the store is for, even if this version does not know its kind.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::kind::Kind;
use crate::target::{ParseTargetError, Target, TargetError, check_name, check_namespace};

/// The longest name of a kind, in bytes.
const MAX_KIND_BYTES: usize = 253;

/// The workload that an entry is for. Ordered by namespace, name and kind, the unknown kinds last. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryTarget {
    /// A workload of a kind that this version knows.
    Known(Target),
    /// A workload of another kind.
    Other(OtherTarget),
}

/// A workload of a kind that this version does not know. Both names are valid in Kubernetes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherTarget {
    namespace: Arc<str>,
    name: Arc<str>,
    kind: Arc<str>,
}

/// Why a kind that this version does not know is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OtherTargetError {
    /// This version knows it, or it cannot be the name of a kind.
    #[error("kind {0:?} is not valid: use the name of a kind as in manifests, such as {example}", example = Kind::default())]
    Kind(String),
    /// The name or the namespace is not valid.
    #[error(transparent)]
    Target(#[from] TargetError),
}

impl OtherTarget {
    /// Creates a target if `kind` is not known, and Kubernetes would accept both names.
    pub fn new(kind: &str, namespace: &str, name: &str) -> Result<Self, OtherTargetError> {
        check_other_kind(kind)?;
        check_namespace(namespace)?;
        check_name(name)?;
        Ok(Self { namespace: namespace.into(), name: name.into(), kind: kind.into() })
    }
}

/// Whether `kind` may be a kind of workload that another version knows. This one must not know it.
pub fn check_other_kind(kind: &str) -> Result<(), OtherTargetError> {
    let is_kind = kind.len() <= MAX_KIND_BYTES
        && kind.starts_with(|first: char| first.is_ascii_uppercase())
        && kind.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte));
    if is_kind && Kind::from_name(kind).is_none() {
        Ok(())
    } else {
        Err(OtherTargetError::Kind(kind.to_owned()))
    }
}

impl EntryTarget {
    /// The namespace.
    pub fn namespace(&self) -> &str {
        match self {
            Self::Known(target) => target.namespace(),
            Self::Other(target) => &target.namespace,
        }
    }

    /// The name of the workload.
    pub fn name(&self) -> &str {
        match self {
            Self::Known(target) => target.name(),
            Self::Other(target) => &target.name,
        }
    }

    /// The name of the kind, as in manifests.
    pub fn kind(&self) -> &str {
        match self {
            Self::Known(target) => target.kind().as_str(),
            Self::Other(target) => &target.kind,
        }
    }

    /// The target. `None`: its kind is not known.
    pub fn known(&self) -> Option<&Target> {
        match self {
            Self::Known(target) => Some(target),
            Self::Other(_) => None,
        }
    }

    /// The last possible target of a known kind up to this one.
    pub fn last_known(&self) -> Target {
        match self {
            Self::Known(target) => target.clone(),
            Self::Other(OtherTarget { namespace, name, .. }) => {
                let [.., last] = Kind::ALL;
                Target::new(last, namespace, name).expect("both names are valid")
            }
        }
    }

    /// `KIND NAMESPACE/NAME`, for sentences.
    pub fn with_kind(&self) -> impl fmt::Display {
        fmt::from_fn(|formatter| write!(formatter, "{} {}/{}", self.kind(), self.namespace(), self.name()))
    }

    fn key(&self) -> (&str, &str, KindKey<'_>) {
        let kind = match self {
            Self::Known(target) => KindKey::Known(target.kind()),
            Self::Other(target) => KindKey::Other(&target.kind),
        };
        (self.namespace(), self.name(), kind)
    }
}

/// The order of kinds.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum KindKey<'a> {
    Known(Kind),
    Other(&'a str),
}

impl Ord for EntryTarget {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

impl PartialOrd for EntryTarget {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl From<Target> for EntryTarget {
    fn from(target: Target) -> Self {
        Self::Known(target)
    }
}

/// Like [`Target`]; a kind that is not known is written as in manifests.
impl fmt::Display for EntryTarget {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(target) => target.fmt(formatter),
            Self::Other(OtherTarget { namespace, name, kind }) => {
                write!(formatter, "{namespace}/{kind}/{name}")
            }
        }
    }
}

/// Parses what [`Display`](fmt::Display) writes.
impl FromStr for EntryTarget {
    type Err = ParseTargetError;

    fn from_str(text: &str) -> Result<Self, ParseTargetError> {
        if let Ok(target) = text.parse() {
            return Ok(Self::Known(target));
        }
        let mut parts = text.splitn(3, '/');
        let (Some(namespace), Some(kind), Some(name)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(ParseTargetError);
        };
        OtherTarget::new(kind, namespace, name).map(Self::Other).map_err(|_| ParseTargetError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn other(kind: &str, name: &str) -> EntryTarget {
        EntryTarget::Other(OtherTarget::new(kind, "shop", name).expect("valid"))
    }

    #[test]
    fn a_known_kind_or_no_kind_is_refused() {
        let check = |kind: &str| OtherTarget::new(kind, "shop", "web").map(|target| target.kind.to_string());
        assert_eq!(check("Rollout.argoproj.io"), Ok("Rollout.argoproj.io".to_owned()));
        for kind in ["", "Deployment", "deployment", "statefulset", "A b", "A\"", "a/B", &"A".repeat(254)] {
            assert_eq!(check(kind), Err(OtherTargetError::Kind(kind.to_owned())));
        }
    }

    #[test]
    fn sorts_by_namespace_then_name_then_kind() {
        let known = |kind, name| EntryTarget::Known(Target::new(kind, "shop", name).expect("valid"));
        let sorted = [
            known(Kind::Deployment, "a"),
            known(Kind::StatefulSet, "a"),
            other("AThing", "a"),
            other("Thing", "a"),
            known(Kind::Deployment, "b"),
        ];
        assert!(sorted.is_sorted());
        let last_known: Vec<EntryTarget> = sorted.iter().map(|target| target.last_known().into()).collect();
        assert_eq!(last_known, [0, 1, 1, 1, 4].map(|index| sorted[index].clone()));
        assert!(sorted.iter().zip(&sorted[1..]).all(|(one, next)| one < next && one != next));
    }

    #[test]
    fn displaying_and_parsing_round_trips() {
        let known = Kind::ALL.map(|kind| Target::new(kind, "shop", "web.v1").expect("valid").into());
        for target in known.into_iter().chain([other("Rollout", "web")]) {
            assert_eq!(target.to_string().parse(), Ok(target));
        }
        for text in ["shop/rollout/web", "shop/Rollout/", "shop/Rollout/a/b", "shop/Deployment/web", "shop"] {
            assert_eq!(text.parse::<EntryTarget>(), Err(ParseTargetError), "{text}");
        }
    }
}
