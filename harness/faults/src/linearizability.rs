//! Whether what clients were told can be explained by one setting that changes at single moments.
//!
//! A history is linearizable if each operation can be given a moment between its begin and its end such that, in the order
//! of these moments, each answer is the right one. The search is that of Wing and Gong, with Lowe's memory of what was
//! tried. An operation without an answer may have happened at any time after its begin, or never.

use std::collections::HashSet;

use crate::history::{Asked, Operation, Stored, Told};

/// What is stored for one target.
type State = Option<Stored>;

/// Says what cannot be explained, if anything. The target had the setting `initial` at first.
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

/// Which operations have been given their place.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Taken(Vec<bool>);

impl Taken {
    fn none_of(operations: usize) -> Self {
        Self(vec![false; operations])
    }
}

struct Search<'a> {
    /// In the order of their begins.
    operations: &'a [Operation],
    tried: HashSet<(Taken, State)>,
    /// The longest explained beginning.
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
        // Whatever comes next must have begun before the first of the open ones has ended.
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

/// The setting after an operation; `None` if it would have been told something else.
fn after(state: State, operation: &Operation) -> Option<State> {
    let next_generation = state.map_or(0, |stored| stored.generation) + 1;
    match (operation.asked, operation.told) {
        (Asked::Set { count }, Told::Set { generation }) => {
            (generation == next_generation).then_some(Some(Stored { generation, count }))
        }
        (Asked::Set { count }, Told::Unknown) => Some(Some(Stored { generation: next_generation, count })),
        (Asked::Get, Told::Got { stored }) => (stored == state).then_some(state),
        (Asked::Delete, Told::Deleted) => state.map(|_| None),
        (Asked::Delete, Told::NotManaged) => state.is_none().then_some(None),
        (Asked::Delete, Told::Unknown) => Some(None),
        (Asked::Get, Told::Unknown) => Some(state),
        (Asked::Set { .. }, Told::Got { .. } | Told::Deleted | Told::NotManaged)
        | (Asked::Get, Told::Set { .. } | Told::Deleted | Told::NotManaged)
        | (Asked::Delete, Told::Set { .. } | Told::Got { .. }) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn operation(begun: u64, ended: u64, asked: Asked, told: Told) -> Operation {
        let at = Duration::from_millis;
        Operation { asked, begun: at(begun), told, ended: at(ended) }
    }

    fn set(begun: u64, ended: u64, count: i32, generation: i64) -> Operation {
        operation(begun, ended, Asked::Set { count }, Told::Set { generation })
    }

    fn lost_set(begun: u64, count: i32) -> Operation {
        operation(begun, begun + 1, Asked::Set { count }, Told::Unknown)
    }

    fn get(begun: u64, ended: u64, stored: Option<(i64, i32)>) -> Operation {
        let stored = stored.map(|(generation, count)| Stored { generation, count });
        operation(begun, ended, Asked::Get, Told::Got { stored })
    }

    fn delete(begun: u64, ended: u64) -> Operation {
        operation(begun, ended, Asked::Delete, Told::Deleted)
    }

    #[track_caller]
    fn check_history(is_right: bool, history: &[Operation]) {
        assert_eq!(check(None, history).is_ok(), is_right, "{history:?}");
    }

    #[test]
    fn what_one_setting_explains_is_right() {
        check_history(true, &[set(0, 1, 5, 1), get(2, 3, Some((1, 5))), delete(4, 5), get(6, 7, None)]);
        // Those that overlap may have happened in any order.
        check_history(true, &[set(0, 9, 5, 2), set(1, 8, 6, 1), get(2, 7, None), get(10, 11, Some((2, 5)))]);
        check_history(true, &[lost_set(0, 5), get(5, 6, None), get(7, 8, Some((1, 5)))]);
        check_history(true, &[lost_set(0, 5), get(5, 6, None), set(7, 8, 6, 1)]);
        check_history(true, &[lost_set(0, 5), set(7, 8, 6, 2)]);
    }

    #[test]
    fn what_it_does_not_explain_is_wrong() {
        // A lost change, a change that came back, one from nowhere, a read that goes back, a generation given twice.
        check_history(false, &[set(0, 1, 5, 1), get(2, 3, None)]);
        check_history(false, &[set(0, 1, 5, 1), set(2, 3, 6, 2), get(4, 5, Some((1, 5)))]);
        check_history(false, &[get(0, 1, Some((1, 5)))]);
        check_history(false, &[lost_set(0, 5), get(1, 2, Some((1, 5))), get(3, 4, None)]);
        check_history(false, &[set(0, 9, 5, 1), set(0, 9, 6, 1)]);
        check_history(false, &[set(0, 1, 5, 1), delete(2, 3), get(4, 5, Some((1, 5)))]);
    }

    #[test]
    fn a_long_history_with_lost_answers_is_checked_in_no_time() {
        let mut history = Vec::new();
        for n in 0..200_u32 {
            let begun = u64::from(n) * 10;
            history.push(set(begun, begun + 12, n.cast_signed(), i64::from(n) + 1));
        }
        history.push(lost_set(3, 1_000));
        check_history(true, &history);
    }
}
