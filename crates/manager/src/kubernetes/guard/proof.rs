//! Whether the guard is in force: asked of the API server, never assumed.

use http::{HeaderMap, Request, StatusCode, header};
use kube::Client;
use replica_count_core::guard::Mode;
use replica_count_core::own_writes::FIELD_MANAGER;
use replica_count_core::replicas::Replicas;
use replica_count_core::target::Target;
use serde::Deserialize;
use serde_json::json;

use super::write::{GuardError, in_time};
use crate::kubernetes::exchange::exchange;
use crate::kubernetes::path;

/// A part of the sentence of the policies.
const SENTENCE: &str = "is kept at";

/// A trial of the guard with one target.
#[derive(Clone, Debug)]
pub struct Trial {
    /// The target, whose workload exists.
    pub target: Target,
    /// The count that is kept.
    pub kept: Replicas,
    /// The count that the workload has.
    pub observed: Replicas,
    /// What the policies are to do.
    pub mode: Mode,
}

impl Trial {
    /// A count that no mode leaves as it is: neither the kept nor the present one.
    fn count(&self) -> i32 {
        let others = [0, 1, 2].into_iter();
        others
            .flat_map(Replicas::new)
            .find(|n| *n != self.kept && *n != self.observed)
            .map_or(0, Replicas::get)
    }
}

/// What a trial has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// The API server keeps the count.
    Active,
    /// It does not.
    Inactive,
    /// The trial itself failed, for a reason that has nothing to do with the guard.
    Unknown,
}

/// The Scale in an answer.
#[derive(Deserialize)]
struct Scale {
    spec: ScaleSpec,
}

#[derive(Deserialize)]
struct ScaleSpec {
    /// Absent for 0.
    #[serde(default)]
    replicas: i32,
}

/// Tries to scale a target to another count than the kept one, without storing anything.
pub async fn prove(client: &Client, trial: &Trial) -> Result<Proof, GuardError> {
    let Trial { target, kept, mode, .. } = trial;
    let uri = format!("{}/scale?dryRun=All&fieldManager={FIELD_MANAGER}", path::workload(target));
    let request = Request::patch(uri)
        .header(header::ACCEPT, "application/json")
        .header(header::CONTENT_TYPE, "application/merge-patch+json")
        .body(json!({ "spec": { "replicas": trial.count() } }).to_string().into_bytes());
    let (head, body) = in_time(request, |request| exchange(client, request)).await?;
    Ok(judge(*mode, *kept, head.status, &head.headers, &body))
}

fn judge(mode: Mode, kept: Replicas, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Proof {
    let active_if = |is_active| if is_active { Proof::Active } else { Proof::Inactive };
    match (mode, status.is_success()) {
        (Mode::Correct, true) => match serde_json::from_slice::<Scale>(body) {
            Ok(scale) => active_if(scale.spec.replicas == kept.get()),
            Err(_) => Proof::Unknown,
        },
        (Mode::Warn, true) => active_if(
            headers
                .get_all(header::WARNING)
                .iter()
                .any(|warning| String::from_utf8_lossy(warning.as_bytes()).contains(SENTENCE)),
        ),
        (Mode::Deny, true) => Proof::Inactive,
        (Mode::Deny, false) if String::from_utf8_lossy(body).contains(SENTENCE) => Proof::Active,
        (Mode::Warn | Mode::Deny | Mode::Correct, false) => Proof::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(mode: Mode, status: u16, warning: &str, body: &str, expected: Proof) {
        let kept = Replicas::new(3).expect("valid");
        let headers = HeaderMap::from_iter([(header::WARNING, warning.parse().expect("valid"))]);
        let status = StatusCode::from_u16(status).expect("valid");
        assert_eq!(
            judge(mode, kept, status, &headers, body.as_bytes()),
            expected,
            "{mode:?} {status} {body}"
        );
    }

    #[test]
    fn only_what_a_policy_says_is_a_proof() {
        let sentence = r#"299 - "the count of web is kept at 3""#;
        let refusal = r#"{"message":"... denied request: the count of web is kept at 3; ..."}"#;
        check(Mode::Correct, 200, "", r#"{"spec":{"replicas":3}}"#, Proof::Active);
        check(Mode::Correct, 200, sentence, r#"{"spec":{"replicas":2}}"#, Proof::Inactive);
        check(Mode::Correct, 200, "", "<html>", Proof::Unknown);
        check(Mode::Correct, 403, "", refusal, Proof::Unknown);
        check(Mode::Warn, 200, sentence, "{}", Proof::Active);
        check(Mode::Warn, 200, r#"299 - "deprecated""#, "{}", Proof::Inactive);
        check(Mode::Warn, 503, sentence, "{}", Proof::Unknown);
        check(Mode::Deny, 403, "", refusal, Proof::Active);
        check(Mode::Deny, 403, "", r#"{"message":"not on Fridays"}"#, Proof::Unknown);
        check(Mode::Deny, 200, sentence, "{}", Proof::Inactive);
    }
}
