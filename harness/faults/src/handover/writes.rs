//! The writes of servers, according to the audit log of the API server, which knows each of them by its token.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::Value;

/// What identifies a token in the audit log.
const CREDENTIAL: &str = "authentication.kubernetes.io/credential-id";
/// The ServiceAccount of the servers.
const SERVER: &str = "system:serviceaccount:replica-count-manager:replica-count-manager";

/// A PATCH of a count by a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Write {
    /// Which server, in the order in which they were started.
    pub(super) server: usize,
    /// When the API server received it: RFC 3339, always with six digits, so that texts sort as times.
    pub(super) received: String,
    /// Whether it was carried out. It tests the count that it was decided on, which is not the one that it writes.
    pub(super) changed: bool,
}

/// What came too late in one handover.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Late {
    /// Writes of the earlier term that were received after the first one of the later term.
    pub(super) received: usize,
    /// Those of them that changed a count.
    pub(super) changed: usize,
}

/// All writes, in the order in which they were received.
pub(super) fn read(log: &Path) -> Result<Vec<Write>> {
    let text = fs::read_to_string(log).with_context(|| format!("cannot read {}", log.display()))?;
    parse(&text)
}

fn parse(text: &str) -> Result<Vec<Write>> {
    let (mut servers, mut writes) = (Vec::new(), Vec::new());
    let mut entries: Vec<Value> = Vec::new();
    for line in text.lines() {
        let entry: Value = serde_json::from_str(line).context("a line of the audit log is not JSON")?;
        if entry["user"]["username"] == SERVER {
            entries.push(entry);
        }
    }
    let received = |entry: &Value| entry["requestReceivedTimestamp"].as_str().unwrap_or_default().to_owned();
    entries.sort_by_key(received);
    for entry in &entries {
        let credential = entry["user"]["extra"][CREDENTIAL][0].as_str();
        let credential = credential.context("the audit log does not say which token was used")?;
        let server = servers.iter().position(|known| known == credential).unwrap_or_else(|| {
            servers.push(credential.to_owned());
            servers.len() - 1
        });
        let object = &entry["objectRef"];
        let is_write = entry["verb"] == "patch"
            && (&object["resource"], &object["subresource"]) == (&"deployments".into(), &"scale".into());
        if is_write && entry["stage"] == "ResponseComplete" {
            let changed = entry["responseStatus"]["code"] == 200;
            writes.push(Write { server, received: received(entry), changed });
        }
    }
    Ok(writes)
}

/// The writes of `earlier` that were received after the first one of `later`, between two times.
pub(super) fn late(writes: &[Write], earlier: usize, later: usize, window: (&str, &str)) -> Late {
    let within: Vec<_> =
        writes.iter().filter(|write| window.0 <= &*write.received && &*write.received < window.1).collect();
    let Some(first) = within.iter().position(|write| write.server == later) else { return Late::default() };
    let late = within[first..].iter().filter(|write| write.server == earlier);
    Late { received: late.clone().count(), changed: late.filter(|write| write.changed).count() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn line(credential: &str, second: u32, verb: &str, code: u16) -> String {
        json!({
            "stage": "ResponseComplete", "verb": verb, "requestReceivedTimestamp": format!("2026-01-01T00:00:{second:02}.000000Z"),
            "user": { "username": SERVER, "extra": { CREDENTIAL: [credential] } },
            "objectRef": { "resource": "deployments", "subresource": "scale" }, "responseStatus": { "code": code },
        })
        .to_string()
    }

    #[test]
    fn late_writes_are_counted() {
        let log = [
            line("b", 3, "get", 200),
            line("a", 1, "patch", 200),
            line("a", 4, "patch", 200),
            line("b", 5, "patch", 200),
            line("a", 6, "patch", 422),
            line("a", 7, "patch", 200),
            line("a", 9, "patch", 200),
        ];
        let writes = parse(&log.join("\n")).expect("an audit log");
        let window = ("2026-01-01T00:00:02.000000Z", "2026-01-01T00:00:08.000000Z");
        assert_eq!(late(&writes, 0, 1, window), Late { received: 2, changed: 1 });
        assert_eq!(late(&writes, 1, 0, window), Late { received: 1, changed: 1 });
        assert_eq!(late(&writes, 0, 2, window), Late::default());
    }
}
