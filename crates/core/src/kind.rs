//! The kinds of workloads, which have a replica count and a `scale` subresource.

use std::fmt;
use std::ops::{Index, IndexMut};

/// The kind of a workload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A Deployment, the default where no kind is given.
    #[default]
    Deployment,
    /// A StatefulSet.
    StatefulSet,
}

impl Kind {
    /// All kinds, sorted.
    pub const ALL: [Self; 2] = [Self::Deployment, Self::StatefulSet];

    /// The name, as in manifests.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
        }
    }

    /// The API group.
    pub fn group(self) -> &'static str {
        match self {
            Self::Deployment | Self::StatefulSet => "apps",
        }
    }

    /// The name of the resource, as in paths of the API and in RBAC rules.
    pub fn resource(self) -> &'static str {
        match self {
            Self::Deployment => "deployments",
            Self::StatefulSet => "statefulsets",
        }
    }

    /// The singular name, as in `kubectl get KIND/NAME`.
    pub fn singular(self) -> &'static str {
        match self {
            Self::Deployment => "deployment",
            Self::StatefulSet => "statefulset",
        }
    }

    /// The kind whose resource has this name.
    pub fn from_resource(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.resource() == name)
    }

    /// The kind with this name in manifests.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A value for each kind.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByKind<T>([T; Kind::ALL.len()]);

impl<T> ByKind<T> {
    /// Calls `value` for each kind.
    pub fn of(value: impl FnMut(Kind) -> T) -> Self {
        Self(Kind::ALL.map(value))
    }
}

impl<T> Index<Kind> for ByKind<T> {
    type Output = T;

    fn index(&self, kind: Kind) -> &T {
        &self.0[kind as usize]
    }
}

impl<T> IndexMut<Kind> for ByKind<T> {
    fn index_mut(&mut self, kind: Kind) -> &mut T {
        &mut self.0[kind as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_sorted_and_found_by_name() {
        assert!(Kind::ALL.is_sorted());
        for (number, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!((kind as usize, Kind::from_name(kind.as_str())), (number, Some(kind)));
            assert_eq!(Kind::from_resource(kind.resource()), Some(kind));
        }
        assert_eq!(Kind::from_name("deployment"), None);
    }
}
