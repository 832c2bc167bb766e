//! The chart grants exactly the rights that the server uses: no request was forbidden, and every verb was used.

use anyhow::{Result, ensure};
use k8s_openapi::api::rbac::v1::{
    ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject,
};
use kube::Api;
use kube::api::ListParams;

use super::{Step, passed};
use crate::audit::{Right, Usage};
use crate::fixture::{Fixture, NAME};
use crate::output::say;
use crate::table::Outcome;

pub(super) const STEP: Step = Step {
    name: "rights",
    about: "the audit log: nothing was forbidden, and every verb of the roles was used",
    run: |fixture| Box::pin(run(fixture)),
};

async fn run(fixture: &Fixture) -> Result<Outcome> {
    if fixture.audit_logs.is_empty() {
        return Ok(Outcome::Skipped("no audit log was given".to_owned()));
    }
    let usage = usage(fixture)?;
    let forbidden = usage.forbidden();
    ensure!(forbidden.is_empty(), "forbidden: {}", forbidden.join(", "));
    exactly_used(fixture, &usage, |_| true).await.map(passed)
}

/// Checks that the rights that the server has now are those that it has used, as far as they must have been. Describes what
/// it found.
pub(super) async fn exactly_used(
    fixture: &Fixture,
    usage: &Usage,
    must_be_used: impl Fn(&Right) -> bool,
) -> Result<String> {
    let granted = granted(fixture).await?;
    ensure!(!granted.is_empty(), "no role is bound to the ServiceAccount");
    let mut unused = Vec::new();
    for right in &granted {
        let Right { group, resource, verb } = right;
        let uses = usage.rights.get(right).copied().unwrap_or_default();
        say(&format!("    {uses:>7}  {verb} {resource}.{group}"));
        if uses == 0 && must_be_used(right) {
            unused.push(format!("{verb} {resource}"));
        }
    }
    ensure!(unused.is_empty(), "granted and never used: {}", unused.join(", "));
    let uses: usize = granted.iter().filter_map(|right| usage.rights.get(right)).sum();
    Ok(format!("no 403; {} verbs granted and used, in {uses} requests", granted.len()))
}

/// The server's requests so far. Fails if one was forbidden that was never allowed.
pub(super) fn allowed_usage(fixture: &Fixture) -> Result<Usage> {
    let usage = usage(fixture)?;
    let forbidden = usage.never_allowed();
    ensure!(forbidden.is_empty(), "forbidden: {}", forbidden.join(", "));
    Ok(usage)
}

/// The server's requests so far.
fn usage(fixture: &Fixture) -> Result<Usage> {
    let mut usage = Usage::default();
    for log in &fixture.audit_logs {
        usage.add(log, &format!("system:serviceaccount:{NAME}:{NAME}"))?;
    }
    Ok(usage)
}

/// Every right of the server's ServiceAccount, from any role.
async fn granted(fixture: &Fixture) -> Result<Vec<Right>> {
    let (client, all) = (&fixture.kubernetes, ListParams::default());
    let mut rules = Vec::new();
    for binding in Api::<ClusterRoleBinding>::all(client.clone()).list(&all).await? {
        if is_bound(binding.subjects.as_deref()) {
            rules.extend(rules_of(fixture, &binding.role_ref, "").await?);
        }
    }
    for binding in Api::<RoleBinding>::all(client.clone()).list(&all).await? {
        if is_bound(binding.subjects.as_deref()) {
            let namespace = binding.metadata.namespace.unwrap_or_default();
            rules.extend(rules_of(fixture, &binding.role_ref, &namespace).await?);
        }
    }
    let mut rights: Vec<Right> = rules.iter().flat_map(rights).collect();
    rights.sort();
    rights.dedup();
    Ok(rights)
}

/// Only bindings by name count: bindings of groups grant discovery to every identity.
fn is_bound(subjects: Option<&[Subject]>) -> bool {
    let is_ours = |subject: &Subject| {
        subject.kind == "ServiceAccount" && subject.name == NAME && subject.namespace.as_deref() == Some(NAME)
    };
    subjects.unwrap_or_default().iter().any(is_ours)
}

async fn rules_of(fixture: &Fixture, role: &RoleRef, namespace: &str) -> Result<Vec<PolicyRule>> {
    let client = fixture.kubernetes.clone();
    let rules = if role.kind == "ClusterRole" {
        Api::<ClusterRole>::all(client).get(&role.name).await?.rules
    } else {
        Api::<Role>::namespaced(client, namespace).get(&role.name).await?.rules
    };
    Ok(rules.unwrap_or_default())
}

fn rights(rule: &PolicyRule) -> Vec<Right> {
    let mut rights = Vec::new();
    for group in rule.api_groups.as_deref().unwrap_or_default() {
        for resource in rule.resources.as_deref().unwrap_or_default() {
            rights.extend(rule.verbs.iter().map(|verb| Right {
                group: group.clone(),
                resource: resource.clone(),
                verb: verb.clone(),
            }));
        }
    }
    rights
}
