//! Workloads as people name them.

use std::fmt::{self, Display};
use std::str::FromStr;

use replica_count_api::proto::Kind;

/// A workload as it is named on the command line: `NAME` or `KIND/NAME`. Without a kind it is a Deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The kind, if it was named.
    pub kind: Kind,
    /// The name.
    pub name: String,
}

/// Reads a kind as kubectl does: singular, plural or short, with or without its group.
pub fn parse_kind(text: &str) -> Result<Kind, String> {
    match text.to_ascii_lowercase().as_str() {
        "deployment" | "deployments" | "deploy" | "deployment.apps" | "deployments.apps" => {
            Ok(Kind::Deployment)
        }
        "statefulset" | "statefulsets" | "sts" | "statefulset.apps" | "statefulsets.apps" => {
            Ok(Kind::StatefulSet)
        }
        _ => Err(format!("{text:?} is not a kind of workload: write deployment or statefulset")),
    }
}

/// The name of a kind in manifests.
pub fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Deployment => "Deployment",
        Kind::StatefulSet => "StatefulSet",
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, name) = match text.split_once('/') {
            Some((kind, name)) => (parse_kind(kind)?, name),
            None => (Kind::Deployment, text),
        };
        if name.is_empty() || name.contains('/') {
            return Err("write NAME or KIND/NAME, for example web or statefulset/db".to_owned());
        }
        Ok(Self { kind, name: name.to_owned() })
    }
}

/// As kubectl names objects with `-o name`.
impl Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = kind_name(self.kind).to_ascii_lowercase();
        write!(f, "{kind}.apps/{}", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_named_as_for_kubectl() {
        for (text, kind, name) in [
            ("web", Kind::Deployment, "web"),
            ("deploy/web", Kind::Deployment, "web"),
            ("Deployments.apps/web", Kind::Deployment, "web"),
            ("sts/db", Kind::StatefulSet, "db"),
            ("statefulset.apps/db", Kind::StatefulSet, "db"),
        ] {
            assert_eq!(text.parse(), Ok(Target { kind, name: name.to_owned() }), "{text}");
        }
        for text in ["", "/web", "deploy/", "a/b/c", "pod/web", "deploy/a/b"] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }
}
