//! The reason why a target is in its state, for states that do not explain themselves.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use replica_count_core::policy::Policy;
use replica_count_core::scope::OutOfScope;
use replica_count_core::state::State;
use replica_count_core::stored::Unsupported;
use replica_count_core::target::Target;

use super::unknown::Unknown;

/// Why a target is in its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum StateReason {
    /// The state is unknown.
    Unknown(Unknown),
    /// This server does not manage it.
    OutOfScope(OutOfScope),
    /// This version does not support the entry.
    Unsupported(Arc<str>),
}

impl StateReason {
    /// `None`: the state explains itself. `unknown` is why the kind of the target is not known, if it is not.
    pub(super) fn of(
        state: State,
        target: &Target,
        unknown: Option<Unknown>,
        policy: &Policy,
    ) -> Option<Self> {
        match state {
            State::Unknown => unknown.map(Self::Unknown),
            State::OutOfScope => policy.scope.check(target).err().map(Self::OutOfScope),
            State::Unmanaged
            | State::InSync
            | State::Drifted
            | State::Contested
            | State::Autoscaled
            | State::Ignored
            | State::Missing
            | State::Unsupported => None,
        }
    }

    /// The reason of [`State::Unsupported`].
    pub(super) fn of_unsupported(entry: &Unsupported) -> Self {
        Self::Unsupported(Arc::clone(&entry.reason))
    }

    /// The length of its text in bytes, without creating the text.
    pub(super) fn len(&self) -> usize {
        let mut length = Length(0);
        // Counting cannot fail.
        let _ = write!(length, "{self}");
        length.0
    }
}

/// Counts the bytes that are written.
struct Length(usize);

impl fmt::Write for Length {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 += text.len();
        Ok(())
    }
}

impl fmt::Display for StateReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(reason) => reason.fmt(formatter),
            Self::OutOfScope(reason) => reason.fmt(formatter),
            Self::Unsupported(reason) => reason.fmt(formatter),
        }
    }
}

#[cfg(test)]
mod tests {
    use replica_count_core::kind::Kind;

    use super::*;

    #[test]
    fn its_length_is_that_of_its_text() {
        for reason in [
            StateReason::Unknown(Unknown::Unread),
            StateReason::Unknown(Unknown::Refused(Kind::StatefulSet)),
            StateReason::OutOfScope(OutOfScope::Excluded("kube-system".into())),
            StateReason::Unsupported("it has a \"floor\" of 3 é".into()),
        ] {
            assert_eq!(reason.len(), reason.to_string().len(), "{reason}");
        }
    }
}
