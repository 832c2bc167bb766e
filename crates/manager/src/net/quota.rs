//! So much of something for all users together, and a part of it at most for each: whoever takes too much is in the way
//! of nobody else.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What may be taken, and what is taken.
#[derive(Debug)]
pub(crate) struct Quota {
    all: usize,
    of_one: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    by_all: usize,
    /// Those who hold something.
    by_user: HashMap<Arc<str>, usize>,
}

/// Why nothing can be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Exhausted {
    #[error("all users together have as many as they may")]
    ForAll,
    #[error("this user has as many as one user may")]
    ForUser,
}

/// What a user has taken. It is given back on drop.
#[derive(Debug)]
pub(crate) struct Share {
    quota: Arc<Quota>,
    user: Arc<str>,
    amount: usize,
}

impl Quota {
    /// `all` for everybody, and of that `of_one` for one user.
    pub(crate) fn new(all: usize, of_one: usize) -> Arc<Self> {
        Arc::new(Self { all, of_one, taken: Mutex::default() })
    }

    /// Takes `amount` for `user`. More than the part of one user counts as that part, so whoever has nothing can take
    /// any amount.
    pub(crate) fn take(self: &Arc<Self>, user: &Arc<str>, amount: usize) -> Result<Share, Exhausted> {
        let amount = amount.min(self.of_one);
        let mut taken = self.taken();
        let by_user = taken.by_user.get(user).copied().unwrap_or_default();
        if by_user + amount > self.of_one {
            return Err(Exhausted::ForUser);
        }
        if taken.by_all + amount > self.all {
            return Err(Exhausted::ForAll);
        }
        taken.by_all += amount;
        taken.by_user.insert(Arc::clone(user), by_user + amount);
        Ok(Share { quota: Arc::clone(self), user: Arc::clone(user), amount })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        // Nothing panics between the changes of two counts.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut taken = self.quota.taken();
        taken.by_all -= self.amount;
        let by_user = taken.by_user.get_mut(&self.user).expect("a share is counted until it is dropped");
        *by_user -= self.amount;
        if *by_user == 0 {
            taken.by_user.remove(&self.user);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(quota: &Arc<Quota>, user: &str, amount: usize) -> Result<Share, Exhausted> {
        quota.take(&user.into(), amount)
    }

    #[test]
    fn one_user_gets_a_part_and_all_together_get_all() {
        let quota = Quota::new(5, 2);
        let first = take(&quota, "a", 1).expect("free");
        let _second = take(&quota, "a", 1).expect("free");
        assert_eq!(take(&quota, "a", 1).unwrap_err(), Exhausted::ForUser);
        let _others = [take(&quota, "b", 2).expect("free"), take(&quota, "c", 1).expect("free")];
        assert_eq!(take(&quota, "d", 1).unwrap_err(), Exhausted::ForAll);

        drop(first);
        let _third = take(&quota, "d", 1).expect("given back");
        assert_eq!(take(&quota, "a", 1).unwrap_err(), Exhausted::ForAll);
    }

    #[test]
    fn too_much_is_the_part_of_one_user() {
        let quota = Quota::new(5, 2);
        let _all_of_hers = take(&quota, "a", 100).expect("free");
        assert_eq!(take(&quota, "a", 1).unwrap_err(), Exhausted::ForUser);
        assert_eq!(quota.taken().by_all, 2);
    }

    #[test]
    fn who_holds_nothing_is_forgotten() {
        let quota = Quota::new(5, 2);
        drop([take(&quota, "a", 1), take(&quota, "b", 2)]);
        let taken = quota.taken();
        assert_eq!((taken.by_all, taken.by_user.len()), (0, 0));
    }
}
