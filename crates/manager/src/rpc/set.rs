//! SetDeployment: what is checked before a count is stored.

use std::sync::Arc;

use replica_count_api::request::SetRequest;
use replica_count_api::{proto, response};
use replica_count_core::authorization::Access;
use replica_count_core::change::{Action, Change, Changed, Existing};
use replica_count_core::entry_target::EntryTarget;
use replica_count_core::guard::GuardState;
use replica_count_core::observed::Observation;
use replica_count_core::stored::Unsupported;
use replica_count_core::target::Target;
use tracing::{info, warn};

use super::authorize::Caller;
use super::context::Context;
use super::get::guard_state;
use super::status::Refusal;
use super::unknown::Unknown;
use crate::clock;
use crate::cluster::{Freshness, Watched};
use crate::kubernetes::reads;

/// How often the rights are checked again because somebody else has created or deleted the setting meanwhile.
const RETRIES: usize = 3;

pub(super) async fn set(
    context: &Context,
    caller: &Caller,
    request: &SetRequest,
) -> Result<proto::SetDeploymentResponse, Refusal> {
    for _ in 0..RETRIES {
        match authorized_set(context, caller, request.clone()).await {
            Err(Refusal::Existing(_)) => {}
            outcome => return outcome,
        }
    }
    authorized_set(context, caller, request.clone()).await
}

async fn authorized_set(
    context: &Context,
    caller: &Caller,
    request: SetRequest,
) -> Result<proto::SetDeploymentResponse, Refusal> {
    let existing = authorize(context, caller, &request.target).await?;
    let SetRequest { target, replicas, hold_until: until, expected_generation, is_dry_run, reason, .. } =
        request;
    let SetRequest { allow_missing, allow_autoscaled, replace_unknown, .. } = request;
    context.check_read()?;
    let old_replicas = current_replicas(context, &target, allow_missing).await?;
    if !allow_autoscaled {
        check_not_autoscaled(context, &target, allow_missing)?;
    }
    let action = if replace_unknown {
        Action::Replace { replicas, until, reason }
    } else {
        Action::Set { replicas, until, reason }
    };
    let change =
        Change { expected_generation, existing, by: caller.user().to_owned(), at: clock::now().wall, action };
    let changed = if is_dry_run {
        let checked = context.store.check(&target, &change);
        checked.map_err(|error| Refusal::of_change(&target.clone().into(), error))?
    } else {
        apply(context, &target.clone().into(), change).await?
    };
    let is_guarded = {
        let view = context.cluster.view();
        let guard_state = guard_state(context, &view, &target, changed.after.as_deref());
        matches!(guard_state, GuardState::InForce(_))
    };
    let (hold_until, replicas_afterwards) = changed.after.as_deref().map(response::hold).unwrap_or_default();
    Ok(proto::SetDeploymentResponse {
        name: target.name().to_owned(),
        namespace: target.namespace().to_owned(),
        kind: proto::Kind::from(target.kind()).into(),
        old_replicas,
        new_replicas: Some(replicas.get()),
        generation: generation(&changed),
        guarded: is_guarded,
        hold_until,
        replicas_afterwards,
    })
}

/// Checks that `caller` may create or change the setting, whichever it is. Returns what must still be so when it is
/// stored.
async fn authorize(context: &Context, caller: &Caller, target: &Target) -> Result<Existing, Refusal> {
    let is_stored = context.store.read_all(|stored| stored.get(&target.clone().into()).is_some());
    let access = Access::Set { target, is_stored };
    context.authorizer.authorize(&context.policy, caller, access).await?;
    Ok(match is_stored {
        _ if !context.authorizer.distinguishes_users() => Existing::Any,
        true => Existing::Required,
        false => Existing::Refused,
    })
}

/// Applies a change and returns when it is durable.
pub(super) async fn apply(
    context: &Context,
    target: &EntryTarget,
    change: Change,
) -> Result<Changed, Refusal> {
    context.check_read()?;
    let applied = context.store.apply(target.clone(), change).await;
    let changed = applied.map_err(|error| Refusal::of_store(target, error))?;
    if let Some(Unsupported { json, .. }) = changed.unsupported.as_deref() {
        info!(%target, by = changed.by, entry = %json, "an entry that is not supported was deleted or replaced");
    }
    Ok(changed)
}

/// The generation after a change; 0 if the setting was deleted.
pub(super) fn generation(changed: &Changed) -> i64 {
    changed.after.as_ref().map_or(0, |setting| response::generation(setting.generation))
}

/// Checks that no autoscaler would fight with a setting. A target that may be missing, or is already managed, need not
/// wait until the autoscalers were read. Without the permission to read them, none is known.
fn check_not_autoscaled(context: &Context, target: &Target, allow_missing: bool) -> Result<(), Refusal> {
    let is_managed = context.store.in_force(target, clock::now().wall).is_some();
    let view = context.cluster.view();
    match view.autoscaler(target) {
        Some(autoscaler) => {
            Err(Refusal::Autoscaled { target: target.clone(), autoscaler: Arc::clone(autoscaler) })
        }
        None if is_managed || allow_missing => Ok(()),
        None if view.freshness(Watched::Autoscalers) == Freshness::Unread => {
            Err(Refusal::Unknown(Unknown::Unread))
        }
        None => Ok(()),
    }
}

/// The count in the cluster, read from the API server if the watch has not shown the workload.
async fn current_replicas(
    context: &Context,
    target: &Target,
    allow_missing: bool,
) -> Result<Option<i32>, Refusal> {
    let unknown = {
        let view = context.cluster.view();
        if let Observation::Present(observed) = view.observation(target) {
            return Ok(Some(observed.replicas.get()));
        }
        Unknown::of(target.kind(), view.freshness(Watched::Workloads(target.kind())))
    };
    if let Some(refused @ Unknown::Refused(_)) = unknown {
        return Err(Refusal::Unknown(refused));
    }
    match reads::get(&context.client, target).await {
        Ok(Some(observed)) => Ok(Some(observed.replicas.get())),
        Ok(None) | Err(_) if allow_missing => Ok(None),
        Ok(None) => Err(Refusal::NotFound(target.clone())),
        Err(error) if error.is_forbidden() => Err(Refusal::Unknown(Unknown::Refused(target.kind()))),
        // When a managed target was first set, it existed or was allowed to be missing.
        Err(_) if context.store.get(target).is_some() => Ok(None),
        Err(error) => {
            warn!(%target, %error, "could not check whether it exists");
            Err(unknown.map_or_else(|| Refusal::Unreachable(target.clone()), Refusal::Unknown))
        }
    }
}
