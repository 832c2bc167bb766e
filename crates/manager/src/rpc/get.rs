//! GetDeployment: the desired and observed state of one target.

use std::sync::Arc;

use replica_count_api::response::LastFailure;
use replica_count_api::{event, proto, response};
use replica_count_core::entry_target::EntryTarget;
use replica_count_core::guard::GuardState;
use replica_count_core::observed::Observation;
use replica_count_core::setting::Setting;
use replica_count_core::state::State;
use replica_count_core::stored::{Entry, Unsupported};
use replica_count_core::target::Target;
use tokio::time::Instant;

use super::context::Context;
use super::state_reason::StateReason;
use super::status::Refusal;
use super::unknown::Unknown;
use crate::clock;
use crate::cluster::{Cluster, View, Watched};

pub(super) fn get(context: &Context, target: &EntryTarget) -> Result<proto::GetDeploymentResponse, Refusal> {
    context.check_read()?;
    match (target, context.store.read_all(|stored| stored.get(target))) {
        (_, Some(Entry::Unsupported(entry))) => Ok(of_unsupported(&context.cluster, target, &entry)),
        (EntryTarget::Known(target), Some(Entry::Setting(setting))) => {
            of_supported(context, target, Some(setting))
        }
        (EntryTarget::Known(target), None) => of_supported(context, target, None),
        (EntryTarget::Other(_), _) => Err(Refusal::NotStored(target.clone())),
    }
}

/// The answer for an entry that this version does not support.
fn of_unsupported(
    cluster: &Cluster,
    target: &EntryTarget,
    entry: &Unsupported,
) -> proto::GetDeploymentResponse {
    let view = cluster.view();
    let observed = target.known().and_then(|target| view.observation(target).present());
    let autoscaler = target.known().and_then(|target| view.autoscaler(target));
    let freshness = target.known().map(|target| view.freshness(Watched::Workloads(target.kind())));
    let age = freshness.and_then(|freshness| freshness.stale_for(Instant::now()));
    let (kind, other_kind) = response::kind(target);
    proto::GetDeploymentResponse {
        name: target.name().to_owned(),
        namespace: target.namespace().to_owned(),
        kind: kind.into(),
        other_kind,
        current_replicas: observed.map(|observed| observed.replicas.get()),
        ready_replicas: observed.map(|observed| observed.ready),
        state: proto::DeploymentState::from(State::Unsupported).into(),
        state_reason: StateReason::of_unsupported(entry).to_string(),
        generation: response::generation(entry.generation),
        autoscaler: autoscaler.map(ToString::to_string).unwrap_or_default(),
        observed_age: age.map(response::duration),
        ..proto::GetDeploymentResponse::default()
    }
}

/// The answer for a target with or without a setting.
fn of_supported(
    context: &Context,
    target: &Target,
    setting: Option<Arc<Setting>>,
) -> Result<proto::GetDeploymentResponse, Refusal> {
    let now = clock::now();
    let setting = setting.and_then(|setting| setting.at(now.wall));
    let record = context.records.get(target).unwrap_or_default();
    let view = context.cluster.view();
    let observation = view.observation(target);
    let freshness = view.freshness(Watched::Workloads(target.kind()));
    let unknown = Unknown::of(target.kind(), freshness);
    if setting.is_none() {
        check_exists(context, target, observation, unknown)?;
    }
    let observed = observation.present();
    let conflict = record.conflict_state();
    let guard_state = guard_state(context, &view, target, setting.as_deref());
    let policy = &context.policy;
    let is_suspended = guard_state == GuardState::Suspended;
    let state = State::of(target, setting.as_deref(), observation, conflict, policy, is_suspended, now.wall);
    let reason = StateReason::of(state, target, unknown, &context.policy);
    let (drifts, before) = context.history.read(|history| {
        let (drifts, last) = history.drifts(target);
        (drifts, last.cloned())
    });
    let mut answer = proto::GetDeploymentResponse {
        name: target.name().to_owned(),
        namespace: target.namespace().to_owned(),
        kind: proto::Kind::from(target.kind()).into(),
        current_replicas: observed.map(|observed| observed.replicas.get()),
        ready_replicas: observed.map(|observed| observed.ready),
        state: proto::DeploymentState::from(state).into(),
        state_reason: reason.map(|reason| reason.to_string()).unwrap_or_default(),
        last_drift: response::last_drift(&record).or_else(|| before.as_deref().map(event::drift)),
        drift_count: response::generation(drifts.max(record.drift_count)),
        contest: response::contest(&record, now),
        guard: proto::GuardState::from(guard_state).into(),
        guarded: matches!(guard_state, GuardState::InForce(_)),
        last_failure: LastFailure::of(&record, now).map(Into::into),
        steady_conflict: record.steady_conflict(now.monotonic).map(Into::into),
        autoscaler: view.autoscaler(target).map(ToString::to_string).unwrap_or_default(),
        observed_age: freshness.stale_for(Instant::from_std(now.monotonic)).map(response::duration),
        ..proto::GetDeploymentResponse::default()
    };
    if let Some(setting) = setting {
        let (mode, until) = response::enforcement(context.policy.enforcement(&setting, now.wall));
        answer.desired_replicas = Some(setting.replicas.get());
        answer.generation = response::generation(setting.generation);
        answer.set_by = setting.set_by.clone().unwrap_or_default();
        answer.set_at = setting.set_at.map(response::timestamp);
        answer.reason = setting.reason.clone().unwrap_or_default();
        answer.enforcement = mode.into();
        answer.enforcement_until = until;
        (answer.hold_until, answer.replicas_afterwards) = response::hold(&setting);
    }
    Ok(answer)
}

/// Whether the API server keeps the count of a target.
pub(super) fn guard_state(
    context: &Context,
    view: &View<'_>,
    target: &Target,
    setting: Option<&Setting>,
) -> GuardState {
    setting.map_or(GuardState::Unguarded, |setting| {
        context.guards.proven_state_of(target, setting, view.autoscaler(target).is_some())
    })
}

/// Checks that the workload of an unmanaged target exists.
fn check_exists(
    context: &Context,
    target: &Target,
    observation: Observation<'_>,
    unknown: Option<Unknown>,
) -> Result<(), Refusal> {
    match (observation, unknown) {
        (Observation::Present(_), _) => Ok(()),
        (Observation::Unread | Observation::Absent, unknown) => {
            context.policy.scope.check_watched(Some(target.namespace()), target.kind())?;
            Err(unknown.map_or_else(|| Refusal::NotFound(target.clone()), Refusal::Unknown))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use replica_count_core::autoscalers::Autoscaler;
    use replica_count_core::kind::Kind;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_entry_that_is_not_supported_shows_what_is_known_of_its_workload() {
        let (cluster, target) = (Cluster::default(), Target::deployment("shop", "web").unwrap());
        cluster.end_listing(Kind::Deployment);
        let autoscaler = Autoscaler { target: target.clone(), name: "ScaledObject/web".into() };
        cluster.insert_autoscaler("u", Some(autoscaler));
        cluster.set_stale(Watched::Workloads(Kind::Deployment), Instant::now());
        tokio::time::advance(Duration::from_secs(7)).await;
        let entry = Unsupported { reason: "it has a \"floor\"".into(), generation: 7, json: "{}".into() };
        let answer = of_unsupported(&cluster, &target.into(), &entry);
        assert_eq!(answer.autoscaler, "ScaledObject/web");
        assert_eq!(answer.observed_age.map(|age| age.seconds), Some(7));

        let other = of_unsupported(&cluster, &"shop/Rollout/web".parse().unwrap(), &entry);
        assert_eq!((&*other.autoscaler, other.observed_age), ("", None));
    }
}
