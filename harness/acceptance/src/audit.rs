//! The requests of the server's ServiceAccount, according to the audit log of the API server.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Deserialize;

/// A right that a rule grants and a request uses.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Right {
    pub(crate) group: String,
    /// With the subresource: `deployments/scale`.
    pub(crate) resource: String,
    pub(crate) verb: String,
}

/// The requests of one user.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    /// The number of requests that used each right.
    pub(crate) rights: BTreeMap<Right, usize>,
    /// Forbidden requests: the right, unless it is not about a resource, and a description.
    forbidden: Vec<(Option<Right>, String)>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    user: User,
    verb: String,
    stage: String,
    #[serde(rename = "requestURI")]
    uri: String,
    object_ref: Option<ObjectRef>,
    response_status: Option<Status>,
    #[serde(default)]
    annotations: Annotations,
}

#[derive(Default, Deserialize)]
struct Annotations {
    /// `allow` or `forbid`.
    #[serde(rename = "authorization.k8s.io/decision")]
    decision: Option<String>,
}

#[derive(Deserialize)]
struct User {
    username: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ObjectRef {
    resource: Option<String>,
    subresource: Option<String>,
    api_group: Option<String>,
}

#[derive(Deserialize)]
struct Status {
    code: Option<u16>,
}

impl Usage {
    /// Descriptions of forbidden requests.
    pub(crate) fn forbidden(&self) -> Vec<&str> {
        self.forbidden.iter().map(|(_, description)| &**description).collect()
    }

    /// The same, without those that were allowed at another time: Helm deletes the rights of a server before its pod.
    pub(crate) fn never_allowed(&self) -> Vec<&str> {
        let is_known =
            |right: &Option<Right>| right.as_ref().is_some_and(|right| self.rights.contains_key(right));
        let unknown = self.forbidden.iter().filter(|(right, _)| !is_known(right));
        unknown.map(|(_, description)| &**description).collect()
    }

    /// Adds the requests of `user` from a log with one JSON object per line.
    pub(crate) fn add(&mut self, log: &Path, user: &str) -> Result<()> {
        let file = File::open(log).with_context(|| format!("cannot read {}", log.display()))?;
        for line in BufReader::new(file).lines() {
            let line = line?;
            // The last line may be incomplete. Most lines belong to other users.
            if line.contains(user)
                && let Ok(event) = serde_json::from_str::<Event>(&line)
                && event.user.username == user
            {
                self.add_event(event);
            }
        }
        Ok(())
    }

    /// Each request has several entries. A watch has one when its answer starts and one when it ends.
    fn add_event(&mut self, event: Event) {
        if event.stage == "RequestReceived" {
            return;
        }
        let code = event.response_status.and_then(|status| status.code);
        // With the guard, the server tries whether its own policy refuses a count, which it has the right to write.
        let is_proof = event.uri.contains("/scale?dryRun=All&")
            && event.annotations.decision.as_deref() == Some("allow");
        let is_forbidden = code == Some(403) && !is_proof;
        let Some(object) = event.object_ref else {
            if is_forbidden {
                self.forbidden.push((None, format!("{} {}", event.verb, event.uri)));
            }
            return;
        };
        let resource =
            [object.resource, object.subresource].into_iter().flatten().collect::<Vec<_>>().join("/");
        let right = Right { group: object.api_group.unwrap_or_default(), resource, verb: event.verb };
        if is_forbidden {
            let description = format!("{} {}", right.verb, event.uri);
            self.forbidden.push((Some(right), description));
            return;
        }
        if event.stage != "ResponseComplete" && right.verb != "watch" {
            return;
        }
        // An apply that creates the object needs the right to create, too.
        if right.verb == "patch" && code == Some(201) {
            *self.rights.entry(Right { verb: "create".to_owned(), ..right.clone() }).or_default() += 1;
        }
        *self.rights.entry(right).or_default() += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: &str = "system:serviceaccount:a:b";

    fn line(user: &str, stage: &str, verb: &str, object: &str, code: u16) -> String {
        format!(
            r#"{{"stage":"{stage}","requestURI":"/x","verb":"{verb}","user":{{"username":"{user}"}},{object}"responseStatus":{{"code":{code}}}}}"#
        )
    }

    #[test]
    fn rights_and_refusals_of_one_user_are_counted() {
        let scale = r#""objectRef":{"resource":"deployments","subresource":"scale","apiGroup":"apps"},"#;
        let list = r#""objectRef":{"resource":"deployments","apiGroup":"apps"},"#;
        let guard = r#""objectRef":{"resource":"guards","apiGroup":"apps"},"#;
        let proof = |decision: &str| {
            let annotations =
                format!(r#"{scale}"annotations":{{"authorization.k8s.io/decision":"{decision}"}},"#);
            line(USER, "ResponseComplete", "patch", &annotations, 403)
                .replace("/x", "/x/scale?dryRun=All&fieldManager=f")
        };
        let text = [
            line(USER, "RequestReceived", "patch", scale, 0),
            line(USER, "ResponseComplete", "patch", scale, 200),
            line(USER, "ResponseComplete", "patch", scale, 422),
            line(USER, "ResponseComplete", "patch", guard, 201),
            line(USER, "ResponseStarted", "watch", list, 200),
            line(USER, "ResponseComplete", "list", list, 403),
            line(USER, "ResponseComplete", "get", "", 200),
            proof("allow"),
            proof("forbid"),
            line("system:serviceaccount:a:bc", "ResponseComplete", "list", list, 200),
            format!(r#"{{"user":{{"username":"{USER}"#),
        ]
        .join("\n");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();

        let mut usage = Usage::default();
        usage.add(file.path(), USER).unwrap();

        let right = |resource: &str, verb: &str| Right {
            group: "apps".to_owned(),
            resource: resource.to_owned(),
            verb: verb.to_owned(),
        };
        let expected = BTreeMap::from([
            (right("deployments/scale", "patch"), 3),
            (right("deployments", "watch"), 1),
            (right("guards", "patch"), 1),
            (right("guards", "create"), 1),
        ]);
        assert_eq!(usage.rights, expected);
        assert_eq!(usage.forbidden(), ["list /x", "patch /x/scale?dryRun=All&fieldManager=f"]);
        assert_eq!(usage.never_allowed(), ["list /x"]);
    }
}
