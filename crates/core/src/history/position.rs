//! How far a reader of the history has come, as a token that another server understands.
//!
//! What one server records has ids in the order of the events. What it learns from another server has the order in which
//! the API server has stored it. So a position is in both orders.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

/// Where the numbers of a token are separated.
const SEPARATOR: char = '.';

/// How far a reader has come. It has everything that one of the two orders covers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Everything with ids from this one…
    pub first_id: u64,
    /// …to this one, which one server has recorded. 0: nothing.
    pub last_id: u64,
    /// When the last of them happened, in microseconds since 1970: a history that has lost its end may give the id again.
    pub last_at: i64,
    /// Everything that other servers could read in this version of the API server, and in earlier ones.
    pub version: u64,
}

impl Position {
    /// Whether a reader at this position has an entry with this id, which is a deletion or not. `own_from` is the first id
    /// of those that the asked server has given in a row, or 0. Another server cannot have told those, nor this server's id
    /// of a deletion, even if they are in its row because its clock was ahead.
    pub fn covers(&self, id: u64, is_deletion: bool, own_from: u64) -> bool {
        let is_foreign = !is_deletion && (own_from == 0 || id < own_from);
        (self.first_id..=self.last_id).contains(&id) && (own_from == self.first_id || is_foreign)
    }
}

impl Display for Position {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let Self { first_id, last_id, last_at, version } = self;
        write!(formatter, "{first_id:x}.{last_id:x}.{last_at:x}.{version:x}")
    }
}

/// A text that is not a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAPosition;

impl FromStr for Position {
    type Err = NotAPosition;

    fn from_str(text: &str) -> Result<Self, NotAPosition> {
        let mut numbers = text.split(SEPARATOR).map(|digits| u64::from_str_radix(digits, 16));
        let mut next = || numbers.next().and_then(Result::ok).ok_or(NotAPosition);
        let (first_id, last_id, last_at, version) = (next()?, next()?, next()?, next()?);
        match numbers.next() {
            None => Ok(Self { first_id, last_id, last_at: last_at.cast_signed(), version }),
            Some(_) => Err(NotAPosition),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_as_it_was_written() {
        let position = Position { first_id: 7, last_id: 300, last_at: -5, version: u64::MAX };
        assert_eq!(position.to_string().parse(), Ok(position));
        for text in ["", "1.2.3", "1.2.3.4.5", "1.2.3.x", "1,2,3,4"] {
            assert_eq!(text.parse::<Position>(), Err(NotAPosition), "{text}");
        }
    }
}
