//! What this server manages: which namespaces, and which kinds of workloads.

use std::collections::BTreeSet;

use crate::kind::Kind;
use crate::setting::Settings;
use crate::target::Target;

/// What this server manages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// The only namespace. `None`: all.
    pub only: Option<String>,
    /// The namespaces that are never managed.
    pub excluded: BTreeSet<String>,
    /// The kinds of workloads.
    pub kinds: BTreeSet<Kind>,
    /// The workload that this server runs in, which is never managed: a server that scales itself to 0 could not undo
    /// it. `None`: not known.
    pub own: Option<Target>,
}

impl Default for Scope {
    /// Everything.
    fn default() -> Self {
        Self { only: None, excluded: BTreeSet::new(), kinds: Kind::ALL.into(), own: None }
    }
}

/// Why a target is not managed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutOfScope {
    /// Its namespace is excluded.
    #[error("namespace {0:?} is excluded from management on this server (--exclude-namespaces)")]
    Excluded(String),
    /// The server manages another namespace only.
    #[error(
        "namespace {namespace:?} is not managed by this server, which is limited to {only:?} (--namespace)"
    )]
    Other {
        /// The requested namespace.
        namespace: String,
        /// The only namespace that the server manages.
        only: String,
    },
    /// The server manages other kinds only.
    #[error("{}s are not managed by this server (--kinds)", .0)]
    Kind(Kind),
    /// The server runs in it.
    #[error("{} is the workload that this server runs in, which it never manages (--own-workload)", .0.with_kind())]
    Own(Target),
}

impl Scope {
    /// Whether `target` is managed.
    pub fn check(&self, target: &Target) -> Result<(), OutOfScope> {
        self.check_own(target)?;
        if self.excluded.contains(target.namespace()) {
            return Err(OutOfScope::Excluded(target.namespace().to_owned()));
        }
        self.check_watched(Some(target.namespace()), target.kind())
    }

    /// Whether `target` is another workload than that which this server runs in.
    pub fn check_own(&self, target: &Target) -> Result<(), OutOfScope> {
        if self.own.as_ref() == Some(target) { Err(OutOfScope::Own(target.clone())) } else { Ok(()) }
    }

    /// How many of the settings are for managed workloads of a kind.
    pub fn count(&self, settings: &Settings, kind: Kind) -> usize {
        settings.keys().filter(|target| target.kind() == kind && self.check(target).is_ok()).count()
    }

    /// Whether workloads of a kind are watched, in a namespace or in all. Those in excluded namespaces are watched but not
    /// managed.
    pub fn check_watched(&self, namespace: Option<&str>, kind: Kind) -> Result<(), OutOfScope> {
        if !self.kinds.contains(&kind) {
            return Err(OutOfScope::Kind(kind));
        }
        match (&self.only, namespace) {
            (Some(only), Some(namespace)) if only != namespace => {
                Err(OutOfScope::Other { namespace: namespace.to_owned(), only: only.clone() })
            }
            (Some(_) | None, _) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::replicas::Replicas;
    use crate::setting::Setting;

    #[test]
    fn settings_that_are_out_of_scope_do_not_count() {
        let setting = Arc::new(Setting::of(Replicas::new(1).expect("valid")));
        let target = |kind, namespace| Target::new(kind, namespace, "web").expect("valid");
        let targets = [
            target(Kind::Deployment, "a"),
            target(Kind::StatefulSet, "a"),
            target(Kind::StatefulSet, "kube-system"),
        ];
        let settings: Settings = targets.map(|target| (target, Arc::clone(&setting))).into();
        let excluded = BTreeSet::from(["kube-system".to_owned()]);
        let scope = Scope { excluded, ..Scope::default() };
        assert_eq!(Kind::ALL.map(|kind| scope.count(&settings, kind)), [1, 1]);
    }

    #[test]
    fn other_namespaces_and_kinds_are_out_of_scope() {
        let check = |scope: &Scope, namespace: &str| {
            let target = Target::deployment(namespace, "web").expect("valid");
            (scope.check(&target), scope.check_watched(Some(namespace), Kind::Deployment))
        };
        let excluded = BTreeSet::from(["kube-system".to_owned()]);
        let all = Scope { excluded: excluded.clone(), ..Scope::default() };
        assert_eq!(check(&all, "a"), (Ok(()), Ok(())));
        assert_eq!(check(&all, "kube-system"), (Err(OutOfScope::Excluded("kube-system".into())), Ok(())));
        let one = Scope { only: Some("a".into()), ..all.clone() };
        assert_eq!(check(&one, "a"), (Ok(()), Ok(())));
        let other = || Err(OutOfScope::Other { namespace: "b".into(), only: "a".into() });
        assert_eq!(check(&one, "b"), (other(), other()));
        let other = Err(OutOfScope::Other { namespace: "kube-system".into(), only: "a".into() });
        assert_eq!(check(&one, "kube-system"), (Err(OutOfScope::Excluded("kube-system".into())), other));
        assert_eq!(one.check_watched(None, Kind::Deployment), Ok(()));
        let none = Scope { kinds: BTreeSet::new(), ..all };
        let kind = || Err(OutOfScope::Kind(Kind::Deployment));
        assert_eq!(check(&none, "a"), (kind(), kind()));
        assert_eq!(none.check_watched(None, Kind::Deployment), kind());
    }

    #[test]
    fn the_own_workload_is_out_of_scope_but_watched() {
        let own = Target::deployment("tools", "manager").expect("valid");
        let scope = Scope { own: Some(own.clone()), ..Scope::default() };
        let refused = scope.check(&own).expect_err("out of scope");
        assert_eq!(refused, OutOfScope::Own(own.clone()));
        let expected = "Deployment tools/manager is the workload that this server runs in, which it never manages \
                        (--own-workload)";
        assert_eq!(refused.to_string(), expected);
        assert_eq!(scope.check_watched(Some("tools"), Kind::Deployment), Ok(()));
        for other in [
            Target::new(Kind::StatefulSet, "tools", "manager"),
            Target::deployment("tools", "manager2"),
            Target::deployment("shop", "manager"),
        ] {
            assert_eq!(scope.check(&other.expect("valid")), Ok(()));
        }
    }
}
