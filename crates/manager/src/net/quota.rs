//! A quota for all users together, of which each user gets only a part: a user who takes too much does not affect
//! others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The limits, and what is taken.
#[derive(Debug)]
pub(crate) struct Quota {
    total: usize,
    per_user: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    in_total: usize,
    /// Only users who hold something.
    by_user: HashMap<Arc<str>, usize>,
}

/// Which limit is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Exhausted {
    #[error("the limit for all users together is reached")]
    ForAll,
    #[error("the limit for one user is reached")]
    ForUser,
}

/// What a user has taken. It is returned on drop.
#[derive(Debug)]
pub(crate) struct Share {
    quota: Arc<Quota>,
    user: Arc<str>,
    amount: usize,
}

impl Quota {
    /// `total` for all users together, and of that `per_user` for each.
    pub(crate) fn new(total: usize, per_user: usize) -> Arc<Self> {
        Arc::new(Self { total, per_user, taken: Mutex::default() })
    }

    /// Takes `amount` for `user`. An amount above the limit for one user counts as that limit, so a user who holds
    /// nothing can take any amount.
    pub(crate) fn take(self: &Arc<Self>, user: &Arc<str>, amount: usize) -> Result<Share, Exhausted> {
        let amount = amount.min(self.per_user);
        let mut taken = self.taken();
        let by_user = taken.by_user.get(user).copied().unwrap_or_default();
        if by_user + amount > self.per_user {
            return Err(Exhausted::ForUser);
        }
        if taken.in_total + amount > self.total {
            return Err(Exhausted::ForAll);
        }
        taken.in_total += amount;
        taken.by_user.insert(Arc::clone(user), by_user + amount);
        Ok(Share { quota: Arc::clone(self), user: Arc::clone(user), amount })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        // Nothing panics between changing the two counts.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut taken = self.quota.taken();
        taken.in_total -= self.amount;
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
    fn both_limits_hold() {
        let quota = Quota::new(5, 2);
        let first = take(&quota, "a", 1).expect("free");
        let _second = take(&quota, "a", 1).expect("free");
        assert_eq!(take(&quota, "a", 1).unwrap_err(), Exhausted::ForUser);
        let _others = [take(&quota, "b", 2).expect("free"), take(&quota, "c", 1).expect("free")];
        assert_eq!(take(&quota, "d", 1).unwrap_err(), Exhausted::ForAll);

        drop(first);
        let _third = take(&quota, "d", 1).expect("returned");
        assert_eq!(take(&quota, "a", 1).unwrap_err(), Exhausted::ForAll);
    }

    #[test]
    fn too_large_an_amount_counts_as_the_limit_for_one_user() {
        let quota = Quota::new(5, 2);
        let _whole_part = take(&quota, "a", 100).expect("free");
        assert_eq!(take(&quota, "a", 1).unwrap_err(), Exhausted::ForUser);
        assert_eq!(quota.taken().in_total, 2);
    }

    #[test]
    fn users_who_hold_nothing_are_removed() {
        let quota = Quota::new(5, 2);
        drop([take(&quota, "a", 1), take(&quota, "b", 2)]);
        let taken = quota.taken();
        assert_eq!((taken.in_total, taken.by_user.len()), (0, 0));
    }
}
