//! One change: decided on what is known, and stored if that is still true.
//!
//! Each request names the version that it was decided on, so a repeated one cannot be carried out twice. If there is no
//! answer, the same request is sent again, and the object is read if that does not tell what has happened.

use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use replica_count_core::backoff::Backoff;
use replica_count_core::change::{Change, Changed};
use replica_count_core::entry_target::EntryTarget;
use replica_count_core::kind::Kind;
use replica_count_core::setting::Setting;
use replica_count_core::target::Target;
use serde_json::Value;
use tokio::time::{Instant, sleep};
use tracing::debug;

use super::entry::{Said, not_enforced, spec_of};
use super::failure;
use super::fresh;
use super::kept::{Author, Found, InFlight, Kept};
use super::metrics::CrdMetrics;
use crate::kubernetes::replica_count::{
    Annotations, ObjectKey, ReplicaCount, RequestError, create, delete, get, update,
};
use crate::store::error::StoreError;

/// How long a change waits at most before it is decided anew, because somebody else was faster.
const BACKOFF: Backoff = Backoff { base: Duration::from_millis(4), cap: Duration::from_millis(200) };
/// How soon a request without an answer is repeated.
const REPEAT_DELAY: Duration = Duration::from_millis(100);
/// The longest name of an object, in bytes.
const LONGEST_NAME: usize = 253;

/// Carries out changes.
#[derive(Clone, Copy)]
pub(super) struct Changer<'a> {
    pub(super) kept: &'a Kept,
    pub(super) client: &'a Client,
    pub(super) metrics: &'a CrdMetrics,
}

/// A request that may be repeated: it is not carried out twice.
enum Request<'a> {
    Create { key: &'a ObjectKey, spec: Value, annotations: Annotations },
    Update { found: &'a Found, patch: Value, annotations: Annotations },
    Delete(&'a Found),
}

/// How a request ended, and whether an earlier one like it had no answer. Only a deletion is answered without an object.
struct Settled {
    answer: Result<Option<ReplicaCount>, RequestError>,
    was_unknown: bool,
}

impl Changer<'_> {
    /// Applies a change and returns when the API server has stored it, or soon after the deadline.
    pub(super) async fn apply(
        &self,
        target: &EntryTarget,
        change: &Change,
        deadline: Instant,
    ) -> Result<Changed, StoreError> {
        let started = std::time::Instant::now();
        let outcome = self.decide_and_store(target, change, deadline).await;
        self.metrics.ended(&outcome, started.elapsed().as_secs_f64());
        outcome
    }

    async fn decide_and_store(
        &self,
        target: &EntryTarget,
        change: &Change,
        deadline: Instant,
    ) -> Result<Changed, StoreError> {
        if !self.kept.reading.is_read() {
            return Err(failure::unread());
        }
        // With less, there would be no repetition.
        if Instant::now() + REPEAT_DELAY >= deadline {
            return Err(failure::late());
        }
        let (mut is_fresh, mut last) = (false, RequestError::NotFound);
        for attempt in 0.. {
            if attempt > 0 {
                self.metrics.repeats.inc();
            }
            if Instant::now() >= deadline {
                break;
            }
            let found = self.kept.find(target);
            let before = found.as_ref().map(|found| found.said.entry_to_change());
            let stored = match change.apply(target.clone(), before) {
                Ok(decided) => self.store(target, found.as_ref(), decided, deadline).await,
                // Another server may have stored what the watch has not shown yet.
                Err(refusal) if is_fresh => return Err(refusal.into()),
                Err(_) => Err(RequestError::NotFound),
            };
            match stored {
                Ok(changed) => {
                    self.kept.reading.record_write(None);
                    return Ok(changed);
                }
                Err(error @ (RequestError::Conflict(_) | RequestError::NotFound)) => {
                    debug!(%target, %error, "decided again");
                    last = error;
                    self.refresh(target, found.as_ref()).await.map_err(|error| self.give_up(error))?;
                    // The first time, it is usually not a race.
                    if is_fresh {
                        sleep(BACKOFF.delay(attempt, fastrand::f64())).await;
                    }
                    is_fresh = true;
                }
                Err(RequestError::Throttled { retry_after, .. })
                    if Instant::now() + retry_after < deadline =>
                {
                    sleep(retry_after).await;
                }
                Err(error) => return Err(self.give_up(error)),
            }
        }
        Err(self.give_up(last))
    }

    fn give_up(&self, error: RequestError) -> StoreError {
        let (error, is_problem) = failure::of_request(error);
        if is_problem {
            self.kept.reading.record_write(Some(error.to_string()));
        }
        error
    }

    /// Reads what is stored for a target.
    async fn refresh(&self, target: &EntryTarget, found: Option<&Found>) -> Result<(), RequestError> {
        let keys = match (found, target) {
            (Some(found), _) => vec![found.key.clone()],
            (None, EntryTarget::Known(target)) => object_keys(target).into(),
            (None, EntryTarget::Other(_)) => Vec::new(),
        };
        for key in keys {
            fresh::read(self.kept, self.client, &key).await?;
        }
        Ok(())
    }

    /// Stores a decided change, if what it was decided on is still true.
    pub(super) async fn store(
        &self,
        target: &EntryTarget,
        found: Option<&Found>,
        decided: Changed,
        deadline: Instant,
    ) -> Result<Changed, RequestError> {
        // What would not be enforced is not stored: a temporary count keeps the one before it, which may be refused.
        let max_replicas = self.kept.rules().max_replicas;
        if let Some(refused) = decided.after.as_ref().and_then(|after| not_enforced(after, max_replicas)) {
            return Err(RequestError::Refused(refused.message().to_string()));
        }
        let author = Author { by: decided.by.clone(), at: Some(decided.at) };
        let (object, in_flight) = match (&decided.after, found, target) {
            (None, Some(found), _) => {
                // Those that do not count first, or one of them would count then.
                for other in self.kept.superseded(target) {
                    self.delete(&other, &author, deadline).await?;
                }
                self.delete(found, &author, deadline).await?;
                return Ok(decided);
            }
            (Some(setting), Some(found), _) => self.update(found, setting, &author, deadline).await?,
            (Some(setting), None, EntryTarget::Known(target)) => {
                self.create(target, setting, &author, deadline).await?
            }
            // What does not exist is not deleted, and there are no settings of other kinds.
            (None, None, _) | (Some(_), None, EntryTarget::Other(_)) => return Err(RequestError::NotFound),
        };
        self.kept.record_answer(&object, &author);
        drop(in_flight);
        self.check_counts(target, &object, &author, deadline).await?;
        let said = Said::of(&object, self.kept.rules());
        Ok(Changed { after: said.setting().cloned(), ..decided })
    }

    /// If another object for the same target is older than a new one, that is the one to change.
    async fn check_counts(
        &self,
        target: &EntryTarget,
        object: &ReplicaCount,
        author: &Author,
        deadline: Instant,
    ) -> Result<(), RequestError> {
        let key = object.key();
        if self.kept.find(target).is_none_or(|found| found.key == key) {
            return Ok(());
        }
        let own = self.kept.superseded(target).into_iter().find(|other| other.key == key);
        if let Some(own) = own {
            self.delete(&own, author, deadline).await?;
        }
        Err(RequestError::Conflict("another object for the same workload is older".to_owned()))
    }

    async fn create(
        &self,
        target: &Target,
        setting: &Arc<Setting>,
        author: &Author,
        deadline: Instant,
    ) -> Result<(ReplicaCount, InFlight<'_>), RequestError> {
        let is_free = |key: &ObjectKey| self.kept.view(key).is_none();
        let Some(key) = object_keys(target).into_iter().find(is_free) else {
            let message = format!("all names for a ReplicaCount of {target} are taken by other workloads'");
            return Err(RequestError::Refused(message));
        };
        let (spec, annotations) = (spec_of(target, &key.name, setting), annotations(setting, 1));
        let in_flight = self.kept.begin_change(&key, author, Some(setting));
        let request = Request::Create { key: &key, spec, annotations };
        let settled = self.settle(&request, deadline).await;
        Ok((self.find_out(settled, &key, None, setting).await?, in_flight))
    }

    async fn update(
        &self,
        found: &Found,
        setting: &Arc<Setting>,
        author: &Author,
        deadline: Instant,
    ) -> Result<(ReplicaCount, InFlight<'_>), RequestError> {
        let Found { key, generation, said, .. } = found;
        let in_flight = self.kept.begin_change(key, author, Some(setting));
        let annotations = annotations(setting, generation + u64::from(said.is_changed_by_patch(setting)));
        let request = Request::Update { found, patch: said.patch(setting), annotations };
        let settled = self.settle(&request, deadline).await;
        Ok((self.find_out(settled, key, Some(found), setting).await?, in_flight))
    }

    /// What became of a request, if a repetition only shows that somebody has changed the object meanwhile.
    async fn find_out(
        &self,
        Settled { answer, was_unknown }: Settled,
        key: &ObjectKey,
        found: Option<&Found>,
        setting: &Setting,
    ) -> Result<ReplicaCount, RequestError> {
        match answer {
            Err(RequestError::Conflict(_) | RequestError::NotFound) if was_unknown => {
                let changed = || RequestError::Unknown("somebody else has changed it since".to_owned());
                let object =
                    get(self.client, key).await.map_err(|error| unknown(&error))?.ok_or_else(changed)?;
                let is_same = found.is_none_or(|found| *found.uid == *object.uid());
                let is_ours = is_same
                    && object.set() == (setting.set_by.clone(), setting.set_at)
                    && Said::of(&object, self.kept.rules()).is_same_spec(setting);
                if is_ours {
                    return Ok(object);
                }
                // With another version and the same generation, no request of ours was or will be carried out.
                let is_unchanged =
                    is_same && found.is_some_and(|found| found.generation == object.generation());
                Err(if is_unchanged { RequestError::Conflict("its version".to_owned()) } else { changed() })
            }
            other => {
                other?.ok_or_else(|| RequestError::Unknown("there is no object in the answer".to_owned()))
            }
        }
    }

    async fn delete(&self, found: &Found, author: &Author, deadline: Instant) -> Result<(), RequestError> {
        let Found { key, uid, .. } = found;
        let _in_flight = self.kept.begin_change(key, author, None);
        let Settled { answer, was_unknown } = self.settle(&Request::Delete(found), deadline).await;
        match answer {
            Ok(_) => {}
            Err(RequestError::NotFound) if was_unknown => {}
            // If it is there, no request has deleted it, and none will: its version is another one.
            Err(RequestError::Conflict(_)) if was_unknown && self.is_gone(key, uid).await? => {}
            Err(error) => return Err(error),
        }
        self.kept.record_deleted(key, uid, author);
        Ok(())
    }

    async fn is_gone(&self, key: &ObjectKey, uid: &str) -> Result<bool, RequestError> {
        let object = get(self.client, key).await.map_err(|error| unknown(&error))?;
        Ok(object.is_none_or(|object| object.uid() != uid || object.is_being_deleted()))
    }

    async fn send(&self, request: &Request<'_>) -> Result<Option<ReplicaCount>, RequestError> {
        match request {
            Request::Create { key, spec, annotations } => {
                create(self.client, key, spec, annotations).await.map(Some)
            }
            Request::Update { found: Found { key, version, .. }, patch, annotations } => {
                update(self.client, key, *version, patch, annotations).await.map(Some)
            }
            Request::Delete(Found { key, uid, version, .. }) => {
                delete(self.client, key, uid, *version).await.map(|()| None)
            }
        }
    }

    /// Sends a request again until there is an answer.
    async fn settle(&self, request: &Request<'_>, deadline: Instant) -> Settled {
        let mut answer = self.send(request).await;
        let was_unknown = matches!(answer, Err(RequestError::Unknown(_)));
        while was_unknown && Instant::now() + REPEAT_DELAY < deadline {
            sleep(REPEAT_DELAY).await;
            self.metrics.repeats.inc();
            match self.send(request).await {
                Err(RequestError::Unknown(_) | RequestError::NotSent(_) | RequestError::Throttled { .. }) => {
                }
                // These are looked into.
                other @ (Ok(_) | Err(RequestError::Conflict(_) | RequestError::NotFound)) => {
                    answer = other;
                    break;
                }
                // An earlier one may have been carried out.
                Err(error) => {
                    answer = Err(unknown(&error));
                    break;
                }
            }
        }
        Settled { answer, was_unknown }
    }
}

/// The names of an object for a target, in the order in which they are tried: another object may have the first one.
fn object_keys(target: &Target) -> [ObjectKey; 2] {
    let (name, kind) = (target.name(), target.kind());
    let first = if kind == Kind::default() { name.to_owned() } else { format!("{name}.{}", kind.singular()) };
    // 64 bits of FNV-1a: only to be different, and the same on every server.
    let hash = format!("{kind}/{name}").bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let suffix = format!("-{hash:016x}");
    let stem = name[..name.len().min(LONGEST_NAME - suffix.len())].trim_end_matches(['.', '-']);
    let second = format!("{stem}{suffix}");
    [if first.len() <= LONGEST_NAME { first } else { second.clone() }, second]
        .map(|name| ObjectKey { namespace: target.namespace().into(), name: name.into() })
}

fn annotations(setting: &Setting, generation: u64) -> Annotations {
    Annotations { set_by: setting.set_by.clone(), set_at: setting.set_at, generation }
}

/// What was asked of the API server before is not known, whatever the answer to a question about it is.
fn unknown(error: &RequestError) -> RequestError {
    RequestError::Unknown(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(kind: Kind, name: &str, expected: &str) {
        let target = Target::new(kind, "shop", name).unwrap();
        let [first, second] = object_keys(&target);
        assert_eq!(&*first.name, expected);
        assert_ne!(&*second.name, name);
        for key in [first, second] {
            Target::deployment("shop", &key.name).unwrap();
        }
    }

    #[test]
    fn names_are_valid_and_differ() {
        let long = format!("{}.x", "a".repeat(251));
        check(Kind::Deployment, "web", "web");
        check(Kind::StatefulSet, "web", "web.statefulset");
        check(Kind::Deployment, &long, &long);
        let [first, second] = object_keys(&Target::new(Kind::StatefulSet, "shop", &long).unwrap());
        assert_eq!(first, second);
        assert_ne!(second, object_keys(&Target::deployment("shop", &long).unwrap())[1]);
    }
}
