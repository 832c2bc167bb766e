//! The rights that the chart grants are those that the server uses: no request was forbidden, and no verb idle.

use anyhow::{Result, ensure};
use k8s_openapi::api::rbac::v1::{
    ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject,
};
use kube::Api;
use kube::api::ListParams;

use super::{Step, passed};
use crate::audit::{Right, Usage};
use crate::output::say;
use crate::stage::{NAME, Stage};
use crate::table::Outcome;

pub(super) const STEP: Step = Step {
    name: "rights",
    about: "the audit log: nothing was forbidden, and every verb of the roles was used",
    run: |stage| Box::pin(run(stage)),
};

async fn run(stage: &Stage) -> Result<Outcome> {
    if stage.audit_logs.is_empty() {
        return Ok(Outcome::Skipped("no audit log was given".to_owned()));
    }
    let usage = usage(stage)?;
    let granted = granted(stage).await?;
    ensure!(!granted.is_empty(), "no role is bound to the ServiceAccount");
    let mut idle = Vec::new();
    for right in &granted {
        let Right { group, resource, verb } = right;
        let uses = usage.rights.get(right).copied().unwrap_or_default();
        say(&format!("    {uses:>7}  {verb} {resource}.{group}"));
        if uses == 0 {
            idle.push(format!("{verb} {resource}"));
        }
    }
    ensure!(idle.is_empty(), "granted and never used: {}", idle.join(", "));
    let uses: usize = granted.iter().filter_map(|right| usage.rights.get(right)).sum();
    Ok(passed(format!("no 403; {} verbs granted, all used, in {uses} requests", granted.len())))
}

/// What the server did so far. That anything was forbidden is an error.
pub(super) fn usage(stage: &Stage) -> Result<Usage> {
    let mut usage = Usage::default();
    for log in &stage.audit_logs {
        usage.add(log, &format!("system:serviceaccount:{NAME}:{NAME}"))?;
    }
    ensure!(usage.forbidden.is_empty(), "it was forbidden: {}", usage.forbidden.join(", "));
    Ok(usage)
}

/// Every right of the server's ServiceAccount, by whatever role.
async fn granted(stage: &Stage) -> Result<Vec<Right>> {
    let (client, all) = (&stage.kubernetes, ListParams::default());
    let mut rules = Vec::new();
    for binding in Api::<ClusterRoleBinding>::all(client.clone()).list(&all).await? {
        if is_bound(binding.subjects.as_deref()) {
            rules.extend(rules_of(stage, &binding.role_ref, "").await?);
        }
    }
    for binding in Api::<RoleBinding>::all(client.clone()).list(&all).await? {
        if is_bound(binding.subjects.as_deref()) {
            let namespace = binding.metadata.namespace.unwrap_or_default();
            rules.extend(rules_of(stage, &binding.role_ref, &namespace).await?);
        }
    }
    let mut rights: Vec<Right> = rules.iter().flat_map(rights).collect();
    rights.sort();
    rights.dedup();
    Ok(rights)
}

/// By name: groups of ServiceAccounts get discovery, like every identity.
fn is_bound(subjects: Option<&[Subject]>) -> bool {
    let is_ours = |subject: &Subject| {
        subject.kind == "ServiceAccount" && subject.name == NAME && subject.namespace.as_deref() == Some(NAME)
    };
    subjects.unwrap_or_default().iter().any(is_ours)
}

async fn rules_of(stage: &Stage, role: &RoleRef, namespace: &str) -> Result<Vec<PolicyRule>> {
    let client = stage.kubernetes.clone();
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
