//! Which namespaces this server manages.

use std::collections::BTreeSet;

/// The namespaces in which settings are accepted and enforced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// The only one. `None`: all.
    pub only: Option<String>,
    /// Those that are never managed.
    pub excluded: BTreeSet<String>,
}

/// Why a namespace is not managed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutOfScope {
    /// It is one of the excluded.
    #[error("namespace {0:?} is excluded from management on this server (--exclude-namespaces)")]
    Excluded(String),
    /// The server is for another one.
    #[error(
        "namespace {namespace:?} is not managed by this server, which is limited to {only:?} (--namespace)"
    )]
    Other {
        /// The namespace that was asked for.
        namespace: String,
        /// The one that the server is for.
        only: String,
    },
}

impl Scope {
    /// Whether `namespace` is managed.
    pub fn check(&self, namespace: &str) -> Result<(), OutOfScope> {
        if self.excluded.contains(namespace) {
            return Err(OutOfScope::Excluded(namespace.to_owned()));
        }
        match &self.only {
            Some(only) if only != namespace => {
                Err(OutOfScope::Other { namespace: namespace.to_owned(), only: only.clone() })
            }
            Some(_) | None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excluded_and_other_namespaces_are_out() {
        let excluded = BTreeSet::from(["kube-system".to_owned()]);
        let all = Scope { only: None, excluded: excluded.clone() };
        assert_eq!(all.check("a"), Ok(()));
        assert_eq!(all.check("kube-system"), Err(OutOfScope::Excluded("kube-system".into())));
        let one = Scope { only: Some("a".into()), excluded };
        assert_eq!(one.check("a"), Ok(()));
        assert_eq!(one.check("b"), Err(OutOfScope::Other { namespace: "b".into(), only: "a".into() }));
    }
}
