//! Checks that a history is linearizable: that a single setting explains all answers.
//!
//! Each operation must take effect at some moment between its begin and its end, such that, in the order of these
//! moments, every answer is correct. The search is that of Wing and Gong, with Lowe's cache of visited states. An
//! operation without an answer may take effect at any time after its begin, or never.

use std::collections::HashSet;

use crate::history::{Operation, Outcome, Request, Stored};

/// The stored setting of one target.
type State = Option<Stored>;

/// Fails with a description if no order explains the history. The target starts with the setting `initial`.
pub fn check(initial: Option<Stored>, history: &[Operation]) -> Result<(), String> {
    let mut operations = history.to_vec();
    operations.sort_by_key(|operation| operation.begun);
    let mut search = Search { operations: &operations, tried: HashSet::new(), farthest: Vec::new() };
    if search.explains(&mut Taken::none_of(operations.len()), initial) {
        return Ok(());
    }
    let Search { farthest, .. } = search;
    let left: Vec<&Operation> =
        operations.iter().enumerate().filter(|(n, _)| !farthest.contains(n)).map(|(_, left)| left).collect();
    Err(format!("no order of events explains these answers, after {} others: {left:?}", farthest.len()))
}

/// The operations that have been placed in the order.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Taken(Vec<bool>);

impl Taken {
    fn none_of(operations: usize) -> Self {
        Self(vec![false; operations])
    }
}

struct Search<'a> {
    /// Sorted by their begin.
    operations: &'a [Operation],
    tried: HashSet<(Taken, State)>,
    /// The longest prefix explained so far.
    farthest: Vec<usize>,
}

impl Search<'_> {
    fn explains(&mut self, taken: &mut Taken, state: State) -> bool {
        let open = |taken: &Taken, n: usize| !taken.0[n];
        let known = |operation: &Operation| operation.is_known();
        if (0..self.operations.len()).all(|n| !open(taken, n) || !known(&self.operations[n])) {
            return true;
        }
        if !self.tried.insert((taken.clone(), state)) {
            return false;
        }
        let placed: Vec<usize> = (0..self.operations.len()).filter(|&n| taken.0[n]).collect();
        if placed.len() > self.farthest.len() {
            self.farthest = placed;
        }
        // The next operation must begin before the first open one ends.
        let first_end = (0..self.operations.len())
            .filter(|&n| open(taken, n) && known(&self.operations[n]))
            .map(|n| self.operations[n].ended)
            .min();
        for n in 0..self.operations.len() {
            let operation = &self.operations[n];
            if !open(taken, n) || first_end.is_some_and(|end| operation.begun > end) {
                continue;
            }
            let Some(after) = after(state, operation) else { continue };
            taken.0[n] = true;
            if self.explains(taken, after) {
                return true;
            }
            taken.0[n] = false;
        }
        false
    }
}

/// The setting after an operation; `None` if its outcome does not match.
fn after(state: State, operation: &Operation) -> Option<State> {
    let next_generation = state.map_or(0, |stored| stored.generation) + 1;
    match (operation.request, operation.outcome) {
        (Request::Set { count }, Outcome::Set { generation }) => {
            (generation == next_generation).then_some(Some(Stored { generation, count }))
        }
        (Request::Set { count }, Outcome::Unknown) => {
            Some(Some(Stored { generation: next_generation, count }))
        }
        (Request::Get, Outcome::Got { stored }) => (stored == state).then_some(state),
        (Request::Delete, Outcome::Deleted) => state.map(|_| None),
        (Request::Delete, Outcome::NotManaged) => state.is_none().then_some(None),
        (Request::Delete, Outcome::Unknown) => Some(None),
        (Request::Get, Outcome::Unknown) => Some(state),
        (Request::Set { .. }, Outcome::Got { .. } | Outcome::Deleted | Outcome::NotManaged)
        | (Request::Get, Outcome::Set { .. } | Outcome::Deleted | Outcome::NotManaged)
        | (Request::Delete, Outcome::Set { .. } | Outcome::Got { .. }) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn operation(begun: u64, ended: u64, request: Request, outcome: Outcome) -> Operation {
        let at = Duration::from_millis;
        Operation { request, begun: at(begun), outcome, ended: at(ended) }
    }

    fn set(begun: u64, ended: u64, count: i32, generation: i64) -> Operation {
        operation(begun, ended, Request::Set { count }, Outcome::Set { generation })
    }

    fn lost_set(begun: u64, count: i32) -> Operation {
        operation(begun, begun + 1, Request::Set { count }, Outcome::Unknown)
    }

    fn get(begun: u64, ended: u64, stored: Option<(i64, i32)>) -> Operation {
        let stored = stored.map(|(generation, count)| Stored { generation, count });
        operation(begun, ended, Request::Get, Outcome::Got { stored })
    }

    fn delete(begun: u64, ended: u64) -> Operation {
        operation(begun, ended, Request::Delete, Outcome::Deleted)
    }

    #[track_caller]
    fn check_history(is_right: bool, history: &[Operation]) {
        assert_eq!(check(None, history).is_ok(), is_right, "{history:?}");
    }

    #[test]
    fn consistent_histories_pass() {
        check_history(true, &[set(0, 1, 5, 1), get(2, 3, Some((1, 5))), delete(4, 5), get(6, 7, None)]);
        // Overlapping operations may take effect in any order.
        check_history(true, &[set(0, 9, 5, 2), set(1, 8, 6, 1), get(2, 7, None), get(10, 11, Some((2, 5)))]);
        check_history(true, &[lost_set(0, 5), get(5, 6, None), get(7, 8, Some((1, 5)))]);
        check_history(true, &[lost_set(0, 5), get(5, 6, None), set(7, 8, 6, 1)]);
        check_history(true, &[lost_set(0, 5), set(7, 8, 6, 2)]);
    }

    #[test]
    fn inconsistent_histories_fail() {
        // A lost change, a reverted change, an unknown change, a read of an older state, a reused generation.
        check_history(false, &[set(0, 1, 5, 1), get(2, 3, None)]);
        check_history(false, &[set(0, 1, 5, 1), set(2, 3, 6, 2), get(4, 5, Some((1, 5)))]);
        check_history(false, &[get(0, 1, Some((1, 5)))]);
        check_history(false, &[lost_set(0, 5), get(1, 2, Some((1, 5))), get(3, 4, None)]);
        check_history(false, &[set(0, 9, 5, 1), set(0, 9, 6, 1)]);
        check_history(false, &[set(0, 1, 5, 1), delete(2, 3), get(4, 5, Some((1, 5)))]);
    }

    #[test]
    fn a_long_history_with_lost_answers_is_checked_quickly() {
        let mut history = Vec::new();
        for n in 0..200_u32 {
            let begun = u64::from(n) * 10;
            history.push(set(begun, begun + 12, n.cast_signed(), i64::from(n) + 1));
        }
        history.push(lost_set(3, 1_000));
        check_history(true, &history);
    }
}
