//! The order of turns: each player has one in each round.

use std::iter;

/// The order of a round. Each round starts with the next player. Who follows whom changes too, because a player may still be
/// busy with its repair when the next turn begins.
pub(super) fn order(round: usize, players: usize) -> impl Iterator<Item = usize> {
    // Alternately to both sides of the first one: +1, -1, +2, -2 and so on.
    let sides = (1..players).map(|step| (step.div_ceil(2), step % 2 == 1));
    let is_mirrored = round / players % 2 == 1;
    let steps = sides.map(move |(step, is_up)| if is_up == is_mirrored { players - step } else { step });
    iter::once(0).chain(steps).map(move |step| (round + step) % players)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn each_round_is_a_turn_of_everybody_and_begins_with_the_next_one() {
        for players in 1..=6 {
            for round in 0..4 * players {
                let turns: Vec<usize> = order(round, players).collect();
                let mut sorted = turns.clone();
                sorted.sort_unstable();
                assert_eq!(sorted, (0..players).collect::<Vec<_>>(), "round {round} of {players}: {turns:?}");
                assert_eq!(turns[0], round % players, "round {round} of {players}: {turns:?}");
            }
        }
    }

    #[test]
    fn nobody_always_comes_after_the_same_one() {
        for players in 3..=6 {
            let mut after = BTreeMap::<(usize, usize), usize>::new();
            for round in 0..2 * players {
                let turns: Vec<usize> = order(round, players).collect();
                for pair in turns.windows(2) {
                    *after.entry((pair[0], pair[1])).or_default() += 1;
                }
            }
            assert_eq!(after.len(), players * (players - 1), "{after:?}");
            assert!(after.values().all(|&times| times == 2), "{after:?}");
        }
    }
}
