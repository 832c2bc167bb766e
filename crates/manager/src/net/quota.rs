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
        let mut share = Share { quota: Arc::clone(self), user: Arc::clone(user), amount: 0 };
        share.grow(amount)?;
        Ok(share)
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        // Nothing panics between changing the two counts.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Share {
    /// Takes `amount` more, with the same limits: a share above the limit for one user counts as that limit.
    pub(crate) fn grow(&mut self, amount: usize) -> Result<(), Exhausted> {
        let Quota { total, per_user, .. } = *self.quota;
        let more = self.amount.saturating_add(amount).min(per_user) - self.amount;
        if more == 0 {
            return Ok(());
        }
        let mut taken = self.quota.taken();
        let by_user = taken.by_user.get(&self.user).copied().unwrap_or_default();
        if by_user + more > per_user {
            return Err(Exhausted::ForUser);
        }
        if taken.in_total + more > total {
            return Err(Exhausted::ForAll);
        }
        taken.in_total += more;
        taken.by_user.insert(Arc::clone(&self.user), by_user + more);
        self.amount += more;
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        // A user who holds nothing is not counted.
        if self.amount == 0 {
            return;
        }
        let mut taken = self.quota.taken();
        taken.in_total -= self.amount;
        let by_user = taken
            .by_user
            .get_mut(&self.user)
            .expect("a share of more than nothing is counted until it is dropped");
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
    fn a_share_grows_up_to_the_limits() {
        let quota = Quota::new(5, 3);
        let mut share = take(&quota, "a", 1).expect("free");
        share.grow(1).expect("free");
        let others = [take(&quota, "b", 1).expect("free"), take(&quota, "c", 2).expect("free")];
        assert_eq!(share.grow(1), Err(Exhausted::ForAll));
        drop(others);
        share.grow(100).expect("free");
        assert_eq!(quota.taken().in_total, 3, "as much as one user may hold");
        share.grow(1).expect("it holds that already");
        let mut other = take(&quota, "a", 0).expect("nothing");
        assert_eq!(other.grow(1), Err(Exhausted::ForUser));
        drop(share);
        other.grow(1).expect("returned");
    }

    #[test]
    fn a_share_of_nothing_does_not_affect_others() {
        let quota = Quota::new(5, 2);
        let (nothing, one) = (take(&quota, "a", 0).expect("free"), take(&quota, "a", 1).expect("free"));
        drop(one);
        drop(nothing);
        let (one, nothing) = (take(&quota, "a", 1).expect("free"), take(&quota, "a", 0).expect("free"));
        drop(nothing);
        assert_eq!(quota.taken().in_total, 1);
        drop(one);
        drop(take(&quota, "b", 0));
        let taken = quota.taken();
        assert_eq!((taken.in_total, taken.by_user.len()), (0, 0));
    }

    #[test]
    fn users_who_hold_nothing_are_removed() {
        let quota = Quota::new(5, 2);
        drop([take(&quota, "a", 1), take(&quota, "b", 2)]);
        let taken = quota.taken();
        assert_eq!((taken.in_total, taken.by_user.len()), (0, 0));
    }
}
