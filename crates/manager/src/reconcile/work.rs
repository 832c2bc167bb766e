//! The queue of targets that may need work. It adds the clock and the wake-up that the pure queue lacks.

use std::sync::{Mutex, MutexGuard, PoisonError};

use replica_count_core::queue::Queue;
use replica_count_core::target::Target;
use tokio::sync::Notify;
use tokio::time::Instant;

/// The targets that may need work. Any task may mark targets; one reconciler takes them.
#[derive(Debug, Default)]
pub struct Work {
    queue: Mutex<Queue<Target>>,
    marked: Notify,
}

impl Work {
    /// Makes a target due now.
    pub fn mark(&self, target: Target) {
        self.mark_at(target, Instant::now().into_std());
    }

    /// Makes a target due at a time.
    pub fn mark_at(&self, target: Target, due: std::time::Instant) {
        self.queue().mark(target, due);
        self.marked.notify_one();
    }

    /// Waits for a target that is due. The caller works on it and then calls `done`.
    ///
    /// Cancel safe: no target is lost.
    pub async fn next(&self) -> Target {
        loop {
            let next_due = {
                let mut queue = self.queue();
                if let Some(target) = queue.take(Instant::now().into_std()) {
                    return target;
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

    /// Ends the work on a target. If it was marked meanwhile, it is due again.
    pub fn done(&self, target: &Target) {
        self.queue().done(target);
        self.marked.notify_one();
    }

    /// How many targets are waiting or in work.
    pub fn depth(&self) -> usize {
        self.queue().len()
    }

    fn queue(&self) -> MutexGuard<'_, Queue<Target>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
