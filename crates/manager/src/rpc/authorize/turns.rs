//! Bounds the questions that are in flight, of all users and of each.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

/// Questions in flight of all users and of one user.
const MAX_QUESTIONS: usize = 32;
const MAX_QUESTIONS_OF_USER: usize = 8;

/// Bounds the questions that are in flight. Those beyond wait, first come, first served: a user with many does not delay
/// those of others.
#[derive(Debug)]
pub(super) struct Turns {
    of_all: Semaphore,
    of_users: Mutex<HashMap<String, Weak<Semaphore>>>,
}

/// Permission to ask.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    _of_user: OwnedSemaphorePermit,
    _of_all: SemaphorePermit<'a>,
}

impl Default for Turns {
    fn default() -> Self {
        Self { of_all: Semaphore::new(MAX_QUESTIONS), of_users: Mutex::default() }
    }
}

impl Turns {
    /// Waits for a turn. Cancel safe.
    pub(super) async fn turn(&self, user: &str) -> Turn<'_> {
        let of_user = self.of_user(user).acquire_owned().await.expect("it is never closed");
        let of_all = self.of_all.acquire().await.expect("it is never closed");
        Turn { _of_user: of_user, _of_all: of_all }
    }

    fn of_user(&self, user: &str) -> Arc<Semaphore> {
        let mut of_users = self.of_users.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(of_user) = of_users.get(user).and_then(Weak::upgrade) {
            return of_user;
        }
        // Only users with questions in flight are kept.
        of_users.retain(|_, of_user| of_user.strong_count() > 0);
        let of_user = Arc::new(Semaphore::new(MAX_QUESTIONS_OF_USER));
        of_users.insert(user.to_owned(), Arc::downgrade(&of_user));
        of_user
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_user_has_a_quarter_and_all_have_a_bound() {
        let turns = Turns::default();
        let mut taken = Vec::new();
        for user in ["a", "b", "c", "d"] {
            for _ in 0..MAX_QUESTIONS_OF_USER {
                taken.push(turns.turn(user).now_or_never().expect("a turn"));
            }
            assert!(turns.turn(user).now_or_never().is_none(), "{user} has too many");
        }
        assert!(turns.turn("e").now_or_never().is_none(), "all have too many");
        taken.pop();
        assert!(turns.turn("a").now_or_never().is_none());
        let turn = turns.turn("e").now_or_never();
        assert!(turn.is_some());
    }

    #[tokio::test]
    async fn users_without_questions_are_forgotten() {
        let turns = Turns::default();
        for user in 0..10 {
            turns.turn(&user.to_string()).await;
        }
        let _turn = turns.turn("a").await;
        assert_eq!(turns.of_users.lock().unwrap().len(), 1);
    }
}
