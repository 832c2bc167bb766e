//! A replica count: what `spec.replicas` can hold.

use std::fmt;

/// A number of replicas, never negative. Kubernetes stores it as an `int32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Replicas(i32);

impl Replicas {
    /// The largest count that Kubernetes can store.
    pub const MAX: Self = Self(i32::MAX);

    /// Accepts a count that is not negative.
    pub fn new(count: i32) -> Result<Self, ReplicasError> {
        if count < 0 { Err(ReplicasError::Negative(count)) } else { Ok(Self(count)) }
    }

    /// Accepts a count from 0 to `max`.
    pub fn at_most(count: i32, max: Self) -> Result<Self, ReplicasError> {
        match Self::new(count)? {
            count if count > max => Err(ReplicasError::TooLarge { count, max }),
            count => Ok(count),
        }
    }

    /// The count as Kubernetes and the API write it.
    pub fn get(self) -> i32 {
        self.0
    }
}

impl fmt::Display for Replicas {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// Why a count was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplicasError {
    /// It is below zero.
    #[error("{0} is negative; a replica count is 0 or more")]
    Negative(i32),
    /// It is above the maximum of this server.
    #[error("{count} is more than {max}, the most that this server allows (--max-replicas)")]
    TooLarge {
        /// The requested count.
        count: Replicas,
        /// The limit.
        max: Replicas,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_zero_to_the_maximum() {
        let max = Replicas::new(1000).expect("valid");
        assert_eq!(Replicas::at_most(0, max).map(Replicas::get), Ok(0));
        assert_eq!(Replicas::at_most(1000, max).map(Replicas::get), Ok(1000));
        assert_eq!(Replicas::at_most(-1, max), Err(ReplicasError::Negative(-1)));
        assert_eq!(Replicas::at_most(1001, max), Err(ReplicasError::TooLarge { count: Replicas(1001), max }));
        assert_eq!(Replicas::new(i32::MIN), Err(ReplicasError::Negative(i32::MIN)));
    }
}
