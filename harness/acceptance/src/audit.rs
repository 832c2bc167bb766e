//! The audit log of the API server: what the server's ServiceAccount asked for.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Deserialize;

/// A right as a rule grants it and a request uses it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Right {
    pub(crate) group: String,
    /// With the subresource: `deployments/scale`.
    pub(crate) resource: String,
    pub(crate) verb: String,
}

/// What one user did.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    /// How many requests used a right.
    pub(crate) rights: BTreeMap<Right, usize>,
    /// Requests that were refused, in words.
    pub(crate) forbidden: Vec<String>,
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
    /// Adds what `user` did according to a log: a JSON object a line.
    pub(crate) fn add(&mut self, log: &Path, user: &str) -> Result<()> {
        let file = File::open(log).with_context(|| format!("cannot read {}", log.display()))?;
        for line in BufReader::new(file).lines() {
            let line = line?;
            // The last line may be half written; most lines are of others.
            if line.contains(user)
                && let Ok(event) = serde_json::from_str::<Event>(&line)
                && event.user.username == user
            {
                self.note(event);
            }
        }
        Ok(())
    }

    /// A request is in the log several times. The answer to a watch is there when it begins and when it ends.
    fn note(&mut self, event: Event) {
        if event.stage == "RequestReceived" {
            return;
        }
        if event.response_status.and_then(|status| status.code) == Some(403) {
            self.forbidden.push(format!("{} {}", event.verb, event.uri));
            return;
        }
        let Some(object) = event.object_ref else { return };
        if event.stage != "ResponseComplete" && event.verb != "watch" {
            return;
        }
        let resource =
            [object.resource, object.subresource].into_iter().flatten().collect::<Vec<_>>().join("/");
        let right = Right { group: object.api_group.unwrap_or_default(), resource, verb: event.verb };
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
    fn rights_and_refusals_of_one_user_are_told_apart() {
        let scale = r#""objectRef":{"resource":"deployments","subresource":"scale","apiGroup":"apps"},"#;
        let list = r#""objectRef":{"resource":"deployments","apiGroup":"apps"},"#;
        let text = [
            line(USER, "RequestReceived", "patch", scale, 0),
            line(USER, "ResponseComplete", "patch", scale, 200),
            line(USER, "ResponseComplete", "patch", scale, 422),
            line(USER, "ResponseStarted", "watch", list, 200),
            line(USER, "ResponseComplete", "list", list, 403),
            line(USER, "ResponseComplete", "get", "", 200),
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
        let expected =
            BTreeMap::from([(right("deployments/scale", "patch"), 2), (right("deployments", "watch"), 1)]);
        assert_eq!(usage.rights, expected);
        assert_eq!(usage.forbidden, ["list /x"]);
    }
}
