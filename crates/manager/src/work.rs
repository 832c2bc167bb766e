//! The queue of targets that may need work. It adds the clock and the wake-up that the pure queue lacks.

use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use replica_count_core::queue::Queue;
use replica_count_core::target::Target;
use tokio::sync::Notify;
use tokio::time::Instant;

/// The keys that may need work, which are targets by default. Any task may mark keys; one takes them.
#[derive(Debug)]
pub struct Work<K = Target> {
    queue: Mutex<Queue<K>>,
    marked: Notify,
}

impl<K> Default for Work<K> {
    fn default() -> Self {
        Self { queue: Mutex::default(), marked: Notify::default() }
    }
}

impl<K: Clone + Eq + Hash + Ord> Work<K> {
    /// Makes a key due now.
    pub fn mark(&self, key: K) {
        self.mark_at(key, Instant::now().into_std());
    }

    /// Makes a key due at a time.
    pub fn mark_at(&self, key: K, due: std::time::Instant) {
        self.queue().mark(key, due);
        self.marked.notify_one();
    }

    /// Waits for a key that is due. The caller works on it and then calls `done`.
    ///
    /// Cancel safe: no key is lost.
    pub async fn next(&self) -> K {
        loop {
            let next_due = {
                let mut queue = self.queue();
                if let Some(key) = queue.take(Instant::now().into_std()) {
                    return key;
                }
                queue.next_due()
            };
            match next_due {
                Some(due) => tokio::select! {
                    () = self.marked.notified() => {}
                    () = tokio::time::sleep_until(due.into()) => {}
                },
                None => self.marked.notified().await,
            }
        }
    }

    /// Ends the work on a key. If it was marked meanwhile, it is due again.
    pub fn done(&self, key: &K) {
        self.queue().done(key);
        self.marked.notify_one();
    }

    /// Whether a key has been due for so long, and nobody has taken it.
    pub fn is_behind(&self, lag: Duration) -> bool {
        self.queue().next_due().is_some_and(|due| due + lag < Instant::now().into_std())
    }

    /// How long the key that is due first has been due already. Zero: none is due.
    pub fn lag(&self) -> Duration {
        let next_due = self.queue().next_due();
        next_due.map(|due| Instant::now().into_std().saturating_duration_since(due)).unwrap_or_default()
    }

    /// How many keys are waiting or in work.
    pub fn depth(&self) -> usize {
        self.queue().len()
    }

    fn queue(&self) -> MutexGuard<'_, Queue<K>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(name: &str) -> Target {
        Target::deployment("ns", name).expect("valid")
    }

    #[tokio::test(start_paused = true)]
    async fn wakes_for_a_mark_and_for_a_due_time() {
        let work = Work::default();
        let start = Instant::now();
        work.mark_at(target("later"), (start + Duration::from_mins(1)).into_std());
        work.mark(target("now"));
        assert_eq!(work.next().await, target("now"));
        assert_eq!(start.elapsed(), Duration::ZERO);
        let (taken, ()) = tokio::join!(work.next(), async { work.mark(target("sooner")) });
        assert_eq!(taken, target("sooner"));
        assert_eq!(work.next().await, target("later"));
        assert_eq!(start.elapsed(), Duration::from_mins(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_target_marked_during_work_is_due_again() {
        let work = Work::default();
        work.mark(target("a"));
        let taken = work.next().await;
        work.mark(target("a"));
        let (again, ()) = tokio::join!(work.next(), async { work.done(&taken) });
        assert_eq!(again, target("a"));
    }
}
