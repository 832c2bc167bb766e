//! Why the API server does not keep counts, as far as it says so.

use std::fmt;

use http::Request;
use kube::Client;
use replica_count_core::guard::Mode;
use serde::Deserialize;

use super::object::{API_VERSION, KIND};
use super::write::{GuardError, send};

const GROUP: &str = "/apis/admissionregistration.k8s.io/v1";
/// The longest text of a policy's warning that is shown, in bytes.
const LONGEST_WARNING: usize = 500;

/// What is missing for a mode to work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lack {
    /// The API server does not know such policies.
    Kind {
        /// The kind.
        kind: &'static str,
        /// The version of the API server.
        version: String,
    },
    /// There is no policy of this name.
    Policy(String),
    /// There is no binding of this name.
    Binding(String),
    /// A policy does not take guards as its parameter.
    ParamKind(String),
    /// A policy does not compile: its name, and the words of the API server.
    Expression(String, String),
    /// All is there, and yet the trial was not stopped.
    Unexplained(String),
}

impl Lack {
    /// The reasons, for metrics.
    pub const REASONS: [&str; 6] =
        ["no_kind", "no_policy", "no_binding", "no_param_kind", "does_not_compile", "unexplained"];

    /// Its stable name.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Kind { .. } => "no_kind",
            Self::Policy(_) => "no_policy",
            Self::Binding(_) => "no_binding",
            Self::ParamKind(_) => "no_param_kind",
            Self::Expression(..) => "does_not_compile",
            Self::Unexplained(_) => "unexplained",
        }
    }
}

impl fmt::Display for Lack {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind { kind, version } => {
                write!(formatter, "the API server ({version}) does not have {kind}")
            }
            Self::Policy(name) => write!(formatter, "the policy {name} is not installed"),
            Self::Binding(name) => write!(formatter, "the policy {name} has no binding of this name"),
            Self::ParamKind(name) => write!(formatter, "the parameter of the policy {name} is no {KIND}"),
            Self::Expression(name, words) => write!(formatter, "the policy {name} does not compile: {words}"),
            Self::Unexplained(name) => write!(
                formatter,
                "the policy {name} is installed, but does nothing yet: perhaps its matchConstraints or binding were changed"
            ),
        }
    }
}

/// The kind of the policies of a mode, and their resource.
fn kind_of(mode: Mode) -> (&'static str, &'static str) {
    match mode {
        Mode::Warn | Mode::Deny => ("ValidatingAdmissionPolicy", "validatingadmissionpolicies"),
        Mode::Correct => ("MutatingAdmissionPolicy", "mutatingadmissionpolicies"),
    }
}

/// The resources of a group.
#[derive(Deserialize)]
struct Resources {
    resources: Vec<Resource>,
}

#[derive(Deserialize)]
struct Resource {
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    git_version: String,
}

/// A policy, as far as it can be wrong.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Policy {
    spec: PolicySpec,
    status: PolicyStatus,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PolicySpec {
    param_kind: Option<ParamKind>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ParamKind {
    api_version: String,
    kind: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PolicyStatus {
    type_checking: TypeChecking,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct TypeChecking {
    expression_warnings: Vec<ExpressionWarning>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ExpressionWarning {
    field_ref: String,
    warning: String,
}

impl Policy {
    fn lack(&self, name: &str) -> Option<Lack> {
        let is_guard = |kind: &ParamKind| (&*kind.api_version, &*kind.kind) == (API_VERSION, KIND);
        if !self.spec.param_kind.as_ref().is_some_and(is_guard) {
            return Some(Lack::ParamKind(name.to_owned()));
        }
        let ExpressionWarning { field_ref, warning } =
            self.status.type_checking.expression_warnings.first()?;
        let mut words = format!("{field_ref}: {warning}").replace(char::is_control, " ");
        words.truncate(words.floor_char_boundary(LONGEST_WARNING));
        Some(Lack::Expression(name.to_owned(), words))
    }
}

/// What is missing for a mode of the guard with this name. What may not be read is believed to be right.
pub async fn missing_for(client: &Client, name: &str, mode: Mode) -> Result<Option<Lack>, GuardError> {
    let (kind, resource) = kind_of(mode);
    let Resources { resources } = get(client, GROUP).await?;
    if !resources.iter().any(|known| known.name == resource) {
        let Version { git_version: version } = get(client, "/version").await?;
        return Ok(Some(Lack::Kind { kind, version }));
    }
    let name = format!("{name}-{}", mode.as_str());
    match get::<Policy>(client, &format!("{GROUP}/{resource}/{name}")).await {
        Ok(policy) => {
            if let Some(lack) = policy.lack(&name) {
                return Ok(Some(lack));
            }
        }
        Err(GuardError::NoPlace(_)) => return Ok(Some(Lack::Policy(name))),
        Err(GuardError::Refused { code: 403, .. }) => {}
        Err(error) => return Err(error),
    }
    // The singular is the name of the kind, and that of bindings begins with it.
    let binding = format!("{GROUP}/{}bindings/{name}", kind.to_lowercase());
    match get::<serde::de::IgnoredAny>(client, &binding).await {
        Ok(_) | Err(GuardError::Refused { code: 403, .. }) => Ok(None),
        Err(GuardError::NoPlace(_)) => Ok(Some(Lack::Binding(name))),
        Err(error) => Err(error),
    }
}

/// Whether the API server has guards. Whoever may do nothing with them may ask that, too.
pub async fn are_installed(client: &Client) -> Result<bool, GuardError> {
    match get::<Resources>(client, "/apis/replicacount.dev/v1alpha1").await {
        Ok(Resources { resources }) => Ok(resources.iter().any(|known| known.name == "replicaguards")),
        Err(GuardError::NoPlace(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Why a mode does not work, as a trial has shown.
pub async fn diagnose(client: &Client, name: &str, mode: Mode) -> Result<Lack, GuardError> {
    let lack = missing_for(client, name, mode).await?;
    Ok(lack.unwrap_or_else(|| Lack::Unexplained(format!("{name}-{}", mode.as_str()))))
}

async fn get<T: serde::de::DeserializeOwned>(client: &Client, path: &str) -> Result<T, GuardError> {
    send(client, Request::get(path).body(Vec::new())).await
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(policy: serde_json::Value, expected: Option<&Lack>) {
        let policy: Policy = serde_json::from_value(policy).expect("valid");
        assert_eq!(policy.lack("g-warn").as_ref(), expected);
    }

    #[test]
    fn a_policy_says_what_is_wrong_with_it() {
        let spec = json!({ "paramKind": { "apiVersion": API_VERSION, "kind": KIND } });
        check(json!({ "spec": spec }), None);
        check(json!({ "spec": spec, "status": { "typeChecking": {}, "observedGeneration": 1 } }), None);
        let warnings = json!([
            { "fieldRef": "spec.validations[0].expression", "warning": "apps/v1: undefined\nfield" },
            { "fieldRef": "spec.other", "warning": "more" },
        ]);
        let words = "spec.validations[0].expression: apps/v1: undefined field".to_owned();
        check(
            json!({ "spec": spec, "status": { "typeChecking": { "expressionWarnings": warnings } } }),
            Some(&Lack::Expression("g-warn".to_owned(), words)),
        );
        let other = json!({ "paramKind": { "apiVersion": "v1", "kind": "ConfigMap" } });
        for spec in [json!({}), other] {
            check(json!({ "spec": spec }), Some(&Lack::ParamKind("g-warn".to_owned())));
        }
    }

    #[test]
    fn every_reason_has_its_name() {
        let text = String::new;
        let all = [
            Lack::Kind { kind: "", version: text() },
            Lack::Policy(text()),
            Lack::Binding(text()),
            Lack::ParamKind(text()),
            Lack::Expression(text(), text()),
            Lack::Unexplained(text()),
        ];
        assert_eq!(all.map(|lack| lack.as_str()), Lack::REASONS);
    }
}
