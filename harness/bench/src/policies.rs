//! The policies of the guard on an API server: installed and removed, and seen from outside to be in force.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use http::{Method, Request, header};
use kube::Client;
use serde_json::{Value, json};
use tokio::time::{self, Instant};

/// How long a policy may take until it is in force, or not any more: it takes a second.
const DEADLINE: Duration = Duration::from_mins(1);
const POLL: Duration = Duration::from_millis(10);

/// The count of a trial, which nobody keeps.
const TRIED: i64 = 999;

/// What comes before the kept count in the sentence of the policies.
const SENTENCE: &str = "is kept at ";

/// A policy of the guard.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Policy {
    Warn,
    Deny,
    Correct,
}

impl Policy {
    pub(crate) const ALL: [Self; 3] = [Self::Warn, Self::Deny, Self::Correct];

    /// Its kind, as in the names of resources, and the end of its name.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Warn => ("validating", "warn"),
            Self::Deny => ("validating", "deny"),
            Self::Correct => ("mutating", "correct"),
        }
    }
}

/// Removes policies of the guard with this name, and their bindings first.
pub(crate) async fn remove(client: &Client, name: &str, policies: &[Policy]) -> Result<()> {
    for resource in ["admissionpolicybindings", "admissionpolicies"] {
        for policy in policies {
            let (kind, end) = policy.names();
            let path = format!("/apis/admissionregistration.k8s.io/v1/{kind}{resource}/{name}-{end}");
            let request = Request::builder().method(Method::DELETE).uri(path).body(Vec::new())?;
            match client.request::<Value>(request).await {
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                removed => drop(removed.context("cannot remove a policy")?),
            }
        }
    }
    Ok(())
}

/// The count of a Deployment that an API server keeps, as anybody sees it who scales without storing anything. `None`: it
/// lets any count pass.
pub(crate) async fn kept(client: &Client, namespace: &str, name: &str) -> Result<Option<i64>> {
    let path = format!("/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale?dryRun=All");
    let request = Request::patch(path)
        .header(header::CONTENT_TYPE, "application/merge-patch+json")
        .body(json!({ "spec": { "replicas": TRIED } }).to_string().into_bytes())?;
    match client.request::<Value>(request).await {
        // A Scale of 0 has no count.
        Ok(scale) => Ok(Some(scale["spec"]["replicas"].as_i64().unwrap_or(0)).filter(|kept| *kept != TRIED)),
        Err(kube::Error::Api(status)) if status.message.contains(SENTENCE) => {
            kept_in(&status.message).map(Some)
        }
        Err(error) => Err(error.into()),
    }
}

fn kept_in(message: &str) -> Result<i64> {
    let (_, rest) = message.split_once(SENTENCE).unwrap_or_default();
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
    digits.parse().with_context(|| format!("no count in {message:?}"))
}

/// Waits until an API server keeps this count of a Deployment, or none.
pub(crate) async fn wait_until_kept(
    client: &Client,
    namespace: &str,
    name: &str,
    count: Option<i64>,
) -> Result<()> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let kept = kept(client, namespace, name).await?;
        if kept == count {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "{kept:?} of {name} is kept, not {count:?}, after {DEADLINE:?}");
        time::sleep(POLL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_count() {
        let cases = [
            ("denied: the count of web is kept at 3 (set by a: b)", Some(3)),
            ("the count of web is kept at 12; to change it: ask", Some(12)),
            ("the count of web is kept at 0", Some(0)),
            ("no such Deployment", None),
        ];
        for (message, expected) in cases {
            assert_eq!(kept_in(message).ok(), expected, "{message}");
        }
    }
}
