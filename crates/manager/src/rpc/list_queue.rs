//! Serialises ListDeployments calls: they take long, and many at once would delay other requests.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, Weak};

use tokio::sync::{Mutex, MutexGuard, OwnedMutexGuard};

/// One list is created at a time. Users take turns: of each user, only the first waiting call competes with those of
/// others. So a user with many calls delays another by one list, not by all of them.
#[derive(Debug, Default)]
pub struct ListQueue {
    first_of_each: Mutex<()>,
    of_users: std::sync::Mutex<HashMap<Arc<str>, Weak<Mutex<()>>>>,
}

/// Permission to create a list. The next call gets it on drop.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    _first_of_each: MutexGuard<'a, ()>,
    _of_user: OwnedMutexGuard<()>,
}

impl ListQueue {
    /// Waits for a turn. Cancel safe: a call that no longer waits is skipped.
    pub(super) async fn turn(&self, user: &str) -> Turn<'_> {
        let of_user = self.of_user(user).lock_owned().await;
        Turn { _first_of_each: self.first_of_each.lock().await, _of_user: of_user }
    }

    fn of_user(&self, user: &str) -> Arc<Mutex<()>> {
        let mut of_users = self.of_users.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(of_user) = of_users.get(user).and_then(Weak::upgrade) {
            return of_user;
        }
        // Only users with calls in flight are kept.
        of_users.retain(|_, of_user| of_user.strong_count() > 0);
        let of_user = Arc::default();
        of_users.insert(user.into(), Arc::downgrade(&of_user));
        of_user
    }
}

#[cfg(test)]
mod tests {
    use std::iter::repeat_n;

    use futures_util::FutureExt;
    use futures_util::future::BoxFuture;

    use super::*;

    type Waiting<'a> = Vec<(&'static str, BoxFuture<'a, Turn<'a>>)>;

    /// Lets these users wait for a turn, in this order.
    fn wait(queue: &ListQueue, users: impl Iterator<Item = &'static str>) -> Waiting<'_> {
        let mut waiting: Waiting<'_> = users.map(|user| (user, queue.turn(user).boxed())).collect();
        assert_eq!(next(&mut waiting), None, "somebody has the turn");
        waiting
    }

    /// Ends the wait of the user whose turn it is.
    fn next(waiting: &mut Waiting<'_>) -> Option<&'static str> {
        let at = waiting.iter_mut().position(|(_, turn)| turn.now_or_never().is_some())?;
        Some(waiting.remove(at).0)
    }

    #[tokio::test]
    async fn users_take_turns() {
        let queue = ListQueue::default();
        let turn = queue.turn("a").await;
        let mut waiting = wait(&queue, repeat_n("a", 100).chain(["b", "b", "c"]));
        drop(turn);
        let order: Vec<_> = std::iter::from_fn(|| next(&mut waiting)).take(7).collect();
        assert_eq!(order, ["b", "c", "a", "b", "a", "a", "a"]);
    }

    #[tokio::test]
    async fn a_call_that_is_cancelled_is_skipped() {
        let queue = ListQueue::default();
        let turn = queue.turn("a").await;
        let mut waiting = wait(&queue, ["a", "b", "a", "b", "c"].into_iter());
        waiting.drain(..2);
        drop(turn);
        let order: Vec<_> = std::iter::from_fn(|| next(&mut waiting)).collect();
        assert_eq!(order, ["c", "a", "b"]);
    }

    #[tokio::test]
    async fn users_without_calls_are_forgotten() {
        let queue = ListQueue::default();
        for n in 0..10 {
            queue.turn(&n.to_string()).await;
        }
        let _turn = queue.turn("a").await;
        assert_eq!(queue.of_users.lock().unwrap().len(), 1);
    }
}
