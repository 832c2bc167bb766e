//! A target: the kind, namespace and name of a workload, valid by construction.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::kind::Kind;

/// The longest DNS label (RFC 1123), the form of a namespace's name.
const MAX_LABEL_BYTES: usize = 63;
/// The longest DNS subdomain (RFC 1123), the form of a workload's name.
const MAX_SUBDOMAIN_BYTES: usize = 253;

/// The kind, namespace and name of a workload, whether or not it exists.
///
/// Both names are valid in Kubernetes. Ordered by namespace, name and kind. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    namespace: Arc<str>,
    name: Arc<str>,
    kind: Kind,
}

impl Target {
    /// Creates a target if Kubernetes would accept both names.
    pub fn new(kind: Kind, namespace: &str, name: &str) -> Result<Self, TargetError> {
        check_namespace(namespace)?;
        check_name(name)?;
        Ok(Self { namespace: namespace.into(), name: name.into(), kind })
    }

    /// The same for a Deployment.
    pub fn deployment(namespace: &str, name: &str) -> Result<Self, TargetError> {
        Self::new(Kind::Deployment, namespace, name)
    }

    /// A target that is not after any other one in its namespace.
    pub fn first_in(namespace: &str) -> Result<Self, TargetError> {
        Self::new(Kind::ALL[0], namespace, "0")
    }

    /// The kind.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The namespace, an RFC 1123 label.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The name of the workload, an RFC 1123 subdomain.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `KIND NAMESPACE/NAME`, for sentences.
    pub fn with_kind(&self) -> impl fmt::Display {
        fmt::from_fn(|formatter| write!(formatter, "{} {}/{}", self.kind, self.namespace, self.name))
    }

    /// The same target, sharing the namespace of `other` instead of its own copy.
    ///
    /// A cluster has few namespaces and many workloads, so an index that shares them stays small.
    #[must_use]
    pub fn sharing_namespace_of(self, other: &Self) -> Self {
        if self.namespace == other.namespace {
            Self { namespace: Arc::clone(&other.namespace), ..self }
        } else {
            self
        }
    }
}

/// `NAMESPACE/NAME` for a Deployment, and `NAMESPACE/KIND/NAME` for other kinds, with the kind as kubectl takes it.
impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kind == Kind::default() {
            write!(formatter, "{}/{}", self.namespace, self.name)
        } else {
            write!(formatter, "{}/{}/{}", self.namespace, self.kind.singular(), self.name)
        }
    }
}

/// Parses what [`Display`](fmt::Display) writes.
impl FromStr for Target {
    type Err = ParseTargetError;

    fn from_str(text: &str) -> Result<Self, ParseTargetError> {
        let (namespace, rest) = text.split_once('/').ok_or(ParseTargetError)?;
        let (kind, name) = match rest.split_once('/') {
            Some((singular, name)) => {
                let mut others = Kind::ALL.into_iter().filter(|kind| *kind != Kind::default());
                (others.find(|kind| kind.singular() == singular).ok_or(ParseTargetError)?, name)
            }
            None => (Kind::default(), rest),
        };
        Self::new(kind, namespace, name).map_err(|_| ParseTargetError)
    }
}

/// The text is not a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not NAMESPACE/NAME or NAMESPACE/KIND/NAME")]
pub struct ParseTargetError;

/// Which of the two names was refused, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// The namespace is not an RFC 1123 label.
    #[error("namespace {0}")]
    Namespace(NameError),
    /// The name is not an RFC 1123 subdomain.
    #[error("name {0}")]
    Name(NameError),
}

/// Why Kubernetes would refuse a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It is empty.
    #[error("is empty")]
    Empty,
    /// It has more bytes than the limit.
    #[error("has {bytes} bytes; Kubernetes allows {limit}")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The maximum length.
        limit: usize,
    },
    /// It contains, begins with or ends with a character that is not allowed.
    #[error(
        "{0:?} is not valid: use lower-case letters, digits and '-', and begin and end with a letter or digit"
    )]
    Label(String),
    /// The same for a name that may have dots.
    #[error(
        "{0:?} is not valid: use lower-case letters, digits, '-' and '.', and begin and end with a letter or digit"
    )]
    Subdomain(String),
}

/// Whether `namespace` is an RFC 1123 label, as the name of a namespace must be.
pub fn check_namespace(namespace: &str) -> Result<(), TargetError> {
    check_length(namespace, MAX_LABEL_BYTES).map_err(TargetError::Namespace)?;
    if is_label(namespace) {
        Ok(())
    } else {
        Err(TargetError::Namespace(NameError::Label(namespace.to_owned())))
    }
}

/// Whether `name` is an RFC 1123 subdomain, as the name of a workload must be.
pub fn check_name(name: &str) -> Result<(), TargetError> {
    check_length(name, MAX_SUBDOMAIN_BYTES).map_err(TargetError::Name)?;
    if name.split('.').all(is_label) {
        Ok(())
    } else {
        Err(TargetError::Name(NameError::Subdomain(name.to_owned())))
    }
}

fn check_length(name: &str, limit: usize) -> Result<(), NameError> {
    match name.len() {
        0 => Err(NameError::Empty),
        bytes if bytes > limit => Err(NameError::TooLong { bytes, limit }),
        _ => Ok(()),
    }
}

fn is_label(label: &str) -> bool {
    let alphanumeric = |byte: Option<&u8>| byte.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let bytes = label.as_bytes();
    alphanumeric(bytes.first())
        && alphanumeric(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(namespace: &str, name: &str, expected: Result<&str, &str>) {
        let actual = Target::deployment(namespace, name).map(|t| t.to_string()).map_err(|e| e.to_string());
        assert_eq!(actual.as_ref().map(String::as_str).map_err(String::as_str), expected);
    }

    #[test]
    fn accepts_what_kubernetes_accepts() {
        check("a", "b", Ok("a/b"));
        check("my-app-namespace", "web.v1-2", Ok("my-app-namespace/web.v1-2"));
        check("0", &"a".repeat(253), Ok(&format!("0/{}", "a".repeat(253))));
    }

    #[test]
    fn refuses_what_kubernetes_refuses() {
        check("", "b", Err("namespace is empty"));
        check("a", "", Err("name is empty"));
        check(&"a".repeat(64), "b", Err("namespace has 64 bytes; Kubernetes allows 63"));
        check("a", &"b".repeat(254), Err("name has 254 bytes; Kubernetes allows 253"));
        for bad in ["A", "-a", "a-", "a_b", "a.b", "a/b", "ä", "a b"] {
            let refused = Target::deployment(bad, "b");
            assert!(
                matches!(refused, Err(TargetError::Namespace(NameError::Label(_)))),
                "{bad}: {refused:?}"
            );
        }
        for bad in ["A", "-a", "a-", "a_b", "a..b", ".a", "a.", "a.-b", "a/b", "ä", "../../x"] {
            let refused = Target::deployment("a", bad);
            assert!(matches!(refused, Err(TargetError::Name(NameError::Subdomain(_)))), "{bad}: {refused:?}");
        }
    }

    #[test]
    fn sorts_by_namespace_then_name() {
        let mut targets = [("b", "a"), ("a", "b"), ("a", "a.b"), ("a-b", "a")]
            .map(|(namespace, name)| Target::deployment(namespace, name).expect("valid"));
        targets.sort();
        assert_eq!(targets.map(|t| t.to_string()), ["a/a.b", "a/b", "a-b/a", "b/a"]);
    }

    #[test]
    fn displaying_and_parsing_round_trips() {
        for kind in Kind::ALL {
            let target = Target::new(kind, "shop", "web.v1").expect("valid");
            assert_eq!(target.to_string().parse(), Ok(target));
        }
        for text in
            ["", "shop", "shop/", "/web", "shop/deployment/web", "shop/x/web", "shop/Web", "shop/web/x"]
        {
            assert_eq!(text.parse::<Target>(), Err(ParseTargetError), "{text}");
        }
    }
}
