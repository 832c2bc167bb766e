//! The independent watch of all Deployments in a namespace.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use futures_util::TryStreamExt as _;
use k8s_openapi::api::apps::v1::Deployment;
use kube::Client;
use kube::api::{Api, ListParams, WatchEvent, WatchParams};
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::{self, Instant};

/// How long something may take that is expected: longer than a repair that is damped.
const DEADLINE: Duration = Duration::from_mins(1);
const POLL: Duration = Duration::from_millis(1);

/// A count that should not be there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Wrong {
    name: String,
    count: i32,
    kept: i32,
    /// Whether it is the first count of the Deployment since that was created.
    pub(super) is_first: bool,
}

#[derive(Debug)]
struct Seen {
    /// Another one after a Deployment was created again.
    uid: String,
    count: i32,
}

#[derive(Debug, Default)]
struct State {
    /// The counts that have to be there.
    kept: HashMap<String, i32>,
    /// The last version of each that was shown.
    seen: HashMap<String, Seen>,
    wrong: Vec<Wrong>,
    /// Why the watch has ended.
    failure: Option<String>,
}

impl State {
    fn see(&mut self, name: &str, uid: &str, count: i32) {
        let before = self.seen.insert(name.to_owned(), Seen { uid: uid.to_owned(), count });
        if let Some(&kept) = self.kept.get(name).filter(|kept| **kept != count) {
            let is_first = before.is_none_or(|before| before.uid != uid);
            self.wrong.push(Wrong { name: name.to_owned(), count, kept, is_first });
        }
    }

    fn count(&self, name: &str) -> Option<i32> {
        self.seen.get(name).map(|seen| seen.count)
    }
}

/// Sees every version of each Deployment, in order. It ends when dropped.
#[derive(Debug)]
pub(super) struct Witness {
    state: Arc<Mutex<State>>,
    _watch: JoinSet<()>,
}

impl Witness {
    /// Watches from now on.
    pub(super) async fn start(client: Client, namespace: &str) -> Result<Self> {
        let api: Api<Deployment> = Api::namespaced(client, namespace);
        let list = api.list(&ListParams::default()).await?;
        let version = list.metadata.resource_version.context("a listing has no version")?;
        let state = Arc::new(Mutex::new(State::default()));
        for deployment in &list.items {
            show(&state, deployment)?;
        }
        let mut watch = JoinSet::new();
        let shown = Arc::clone(&state);
        watch.spawn(async move {
            let Err(error) = follow(&api, version, &shown).await;
            lock(&shown).failure = Some(format!("{error:#}"));
        });
        Ok(Self { state, _watch: watch })
    }

    /// From now on, another count is wrong. That of `None` is not looked at.
    pub(super) fn keep(&self, name: &str, count: Option<i32>) -> Result<()> {
        let mut state = lock(&self.state);
        match count {
            Some(count) => {
                let seen = state.count(name);
                ensure!(seen == Some(count), "{name} should have {count} replicas by now, not {seen:?}");
                state.kept.insert(name.to_owned(), count);
            }
            None => drop(state.kept.remove(name)),
        }
        Ok(())
    }

    /// Waits until the last version of a Deployment that was shown has this count.
    pub(super) async fn wait_for(&self, name: &str, count: i32) -> Result<()> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            {
                let state = lock(&self.state);
                let seen = state.count(name);
                if seen == Some(count) {
                    return Ok(());
                }
                if let Some(failure) = &state.failure {
                    bail!("the watch ended: {failure}");
                }
                ensure!(
                    Instant::now() < deadline,
                    "the watch did not show {count} replicas of {name} within {DEADLINE:?}, but {seen:?}"
                );
            }
            time::sleep(POLL).await;
        }
    }

    /// All wrong counts since the last call.
    pub(super) fn take_wrong(&self) -> Vec<Wrong> {
        std::mem::take(&mut lock(&self.state).wrong)
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Goes on until it fails. The API server ends a watch from time to time, and the next one begins where it was.
async fn follow(
    api: &Api<Deployment>,
    mut version: String,
    state: &Mutex<State>,
) -> Result<std::convert::Infallible> {
    loop {
        let mut events = pin!(api.watch(&WatchParams::default().timeout(290), &version).await?);
        while let Some(event) = events.try_next().await? {
            match event {
                WatchEvent::Added(deployment) | WatchEvent::Modified(deployment) => {
                    show(state, &deployment)?;
                    version = deployment.metadata.resource_version.context("an event has no version")?;
                }
                // The next watch shows the deletion again, which does no harm.
                WatchEvent::Deleted(_) => {}
                WatchEvent::Bookmark(bookmark) => version = bookmark.metadata.resource_version,
                WatchEvent::Error(status) => bail!("{}", status.message),
            }
        }
    }
}

fn show(state: &Mutex<State>, deployment: &Deployment) -> Result<()> {
    let name = deployment.metadata.name.as_deref().context("a Deployment has no name")?;
    let uid = deployment.metadata.uid.as_deref().context("a Deployment has no uid")?;
    let count =
        deployment.spec.as_ref().and_then(|spec| spec.replicas).context("a Deployment has no count")?;
    lock(state).see(name, uid, count);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_another_count_than_the_kept_one_is_wrong() {
        let mut state = State { kept: HashMap::from([("web".to_owned(), 3)]), ..State::default() };
        let versions = [
            ("web", "1", 3),
            ("web", "1", 0),
            ("web", "2", 5),
            ("web", "2", 5),
            ("web", "2", 3),
            ("other", "3", 5),
        ];
        for (name, uid, count) in versions {
            state.see(name, uid, count);
        }
        let wrong = |count, is_first| Wrong { name: "web".to_owned(), count, kept: 3, is_first };
        assert_eq!(state.wrong, [wrong(0, false), wrong(5, true), wrong(5, false)]);
        assert_eq!(state.count("web"), Some(3));
    }
}
