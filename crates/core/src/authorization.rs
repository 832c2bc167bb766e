//! Who may do what, as a question to Kubernetes: each RPC is a verb on `replicacounts.replicacount.dev`, and a denial reads
//! like one of the API server. The resource need not be installed, because rules name it as text.

pub mod answers;

use std::fmt;

use crate::entry_target::EntryTarget;
use crate::target::Target;

/// The API group of the resource.
pub const GROUP: &str = "replicacount.dev";
/// The resource, in the plural.
pub const RESOURCE: &str = "replicacounts";
/// The group of everybody who is known, which Kubernetes adds to each user.
pub const AUTHENTICATED: &str = "system:authenticated";

/// What Kubernetes gives meaning to: its own users and groups.
const RESERVED_PREFIX: &str = "system:";

/// What a request wants to do.
#[derive(Clone, Copy, Debug)]
pub enum Access<'a> {
    /// List the targets of a namespace. `None`: of all namespaces.
    List(Option<&'a str>),
    /// Read a target.
    Get(&'a EntryTarget),
    /// Read what happened to a target, of any kind.
    GetEvents {
        /// The namespace of the target.
        namespace: &'a str,
        /// The name of the target.
        name: &'a str,
    },
    /// Watch targets.
    Watch {
        /// Their namespace. `None`: all namespaces.
        namespace: Option<&'a str>,
        /// Their name, within a namespace. `None`: all names.
        name: Option<&'a str>,
    },
    /// Store a count.
    Set {
        /// The target of the count.
        target: &'a Target,
        /// Whether something is stored for it, so that it is replaced.
        is_stored: bool,
    },
    /// Set whether a count is enforced.
    SetEnforcement(&'a Target),
    /// Delete a setting.
    Delete(&'a EntryTarget),
}

/// A verb of Kubernetes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Read one.
    Get,
    /// Read all.
    List,
    /// Read all, and what happens from then on.
    Watch,
    /// Make one.
    Create,
    /// Change one.
    Update,
    /// Remove one.
    Delete,
}

impl Verb {
    /// The verb in a rule.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

/// Whether somebody may do this to a resource.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Question {
    /// What they would do.
    pub verb: Verb,
    /// Where. `None`: in all namespaces.
    pub namespace: Option<Box<str>>,
    /// The name of the workload. `None`: all of them.
    pub name: Option<Box<str>>,
}

impl Access<'_> {
    /// The question whether somebody may do this. Workloads of all kinds share their names.
    pub fn question(&self) -> Question {
        let of = |verb, namespace: &str, name: &str| Question {
            verb,
            namespace: Some(namespace.into()),
            name: Some(name.into()),
        };
        match self {
            Self::List(namespace) => {
                Question { verb: Verb::List, namespace: namespace.map(Into::into), name: None }
            }
            Self::Get(target) => of(Verb::Get, target.namespace(), target.name()),
            Self::GetEvents { namespace, name } => of(Verb::Get, namespace, name),
            Self::Watch { namespace, name } => Question {
                verb: Verb::Watch,
                namespace: namespace.map(Into::into),
                name: name.map(Into::into),
            },
            Self::Set { target, is_stored: false } => of(Verb::Create, target.namespace(), target.name()),
            Self::Set { target, is_stored: true } | Self::SetEnforcement(target) => {
                of(Verb::Update, target.namespace(), target.name())
            }
            Self::Delete(target) => of(Verb::Delete, target.namespace(), target.name()),
        }
    }
}

impl fmt::Display for Access<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::List(None) => formatter.write_str("list all namespaces"),
            Self::List(Some(namespace)) => write!(formatter, "list {namespace}"),
            Self::Get(target) => write!(formatter, "get {target}"),
            Self::GetEvents { namespace, name } => write!(formatter, "get the events of {namespace}/{name}"),
            Self::Watch { namespace: None, .. } => formatter.write_str("watch all namespaces"),
            Self::Watch { namespace: Some(namespace), name: None } => write!(formatter, "watch {namespace}"),
            Self::Watch { namespace: Some(namespace), name: Some(name) } => {
                write!(formatter, "watch {namespace}/{name}")
            }
            Self::Set { target, .. } => write!(formatter, "set {target}"),
            Self::SetEnforcement(target) => write!(formatter, "set the enforcement of {target}"),
            Self::Delete(target) => write!(formatter, "delete {target}"),
        }
    }
}

/// What Kubernetes has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// They may.
    Allowed,
    /// No rule allows it.
    Denied,
}

/// No rule of Kubernetes allows this to this user. The message has the words of the API server, so that what is known of
/// those helps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The user.
    pub user: String,
    /// What they may not do.
    pub question: Question,
}

impl fmt::Display for Denial {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { user, question: Question { verb, namespace, name } } = self;
        write!(formatter, "{RESOURCE}.{GROUP} ")?;
        if let Some(name) = name {
            write!(formatter, "{name:?} ")?;
        }
        let verb = verb.as_str();
        write!(
            formatter,
            "is forbidden: User {user:?} cannot {verb} resource {RESOURCE:?} in API group {GROUP:?} "
        )?;
        match namespace {
            Some(namespace) => write!(formatter, "in the namespace {namespace:?}"),
            None => formatter.write_str("at the cluster scope"),
        }
    }
}

impl std::error::Error for Denial {}

/// The first of these names that only Kubernetes itself may give: whoever could choose it would have the rights of, for
/// example, `system:masters`. Everybody is in the group `system:authenticated`, so naming it gives nothing.
pub fn reserved_name<'a>(user: &'a str, groups: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let groups = groups.into_iter().filter(|group| *group != AUTHENTICATED);
    std::iter::once(user).chain(groups).find(|name| name.starts_with(RESERVED_PREFIX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn web() -> Target {
        Target::deployment("shop", "web").expect("valid")
    }

    #[track_caller]
    fn check(access: Access<'_>, verb: &str, namespace: Option<&str>, name: Option<&str>) {
        let question = access.question();
        let actual = (question.verb.as_str(), question.namespace.as_deref(), question.name.as_deref());
        assert_eq!(actual, (verb, namespace, name), "{access}");
    }

    #[test]
    fn every_request_is_a_verb_on_a_resource() {
        let (target, entry) = (web(), EntryTarget::from(web()));
        let (shop, name) = (Some("shop"), Some("web"));
        check(Access::List(None), "list", None, None);
        check(Access::List(Some("shop")), "list", shop, None);
        check(Access::Get(&entry), "get", shop, name);
        check(Access::GetEvents { namespace: "shop", name: "web" }, "get", shop, name);
        check(Access::Watch { namespace: None, name: None }, "watch", None, None);
        check(Access::Watch { namespace: shop, name: None }, "watch", shop, None);
        check(Access::Watch { namespace: shop, name }, "watch", shop, name);
        check(Access::Set { target: &target, is_stored: false }, "create", shop, name);
        check(Access::Set { target: &target, is_stored: true }, "update", shop, name);
        check(Access::SetEnforcement(&target), "update", shop, name);
        check(Access::Delete(&entry), "delete", shop, name);
    }

    #[test]
    fn a_denial_reads_like_one_of_the_api_server() {
        let denial = |access: Access<'_>| Denial { user: "a\"b".to_owned(), question: access.question() };
        assert_eq!(
            denial(Access::Get(&web().into())).to_string(),
            r#"replicacounts.replicacount.dev "web" is forbidden: User "a\"b" cannot get resource "replicacounts" in API group "replicacount.dev" in the namespace "shop""#
        );
        assert_eq!(
            denial(Access::List(None)).to_string(),
            r#"replicacounts.replicacount.dev is forbidden: User "a\"b" cannot list resource "replicacounts" in API group "replicacount.dev" at the cluster scope"#
        );
    }

    #[test]
    fn names_of_kubernetes_are_reserved() {
        for (user, groups, expected) in [
            ("alice", &["ops", "system:authenticated"][..], None),
            ("alice", &["ops", "system:masters"], Some("system:masters")),
            ("system:admin", &[], Some("system:admin")),
            ("system:authenticated", &[], Some("system:authenticated")),
            ("system", &["systems:all"], None),
        ] {
            assert_eq!(reserved_name(user, groups.iter().copied()), expected, "{user} {groups:?}");
        }
    }
}
