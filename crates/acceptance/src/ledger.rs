//! What a client was told of its Sets, and whether that is what the server kept.

use anyhow::{Result, ensure};

/// The Sets of one client for one target that nobody else changes, in their order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    /// The last one that was acknowledged: count and generation.
    acknowledged: Option<(i32, i64)>,
    /// Counts of those without an answer that have not shown up in a generation yet.
    unknown: Vec<i32>,
    /// How many were acknowledged.
    pub(crate) acknowledgements: usize,
}

impl Ledger {
    /// A Set was sent and nothing is known of it.
    pub(crate) fn unanswered(&mut self, count: i32) {
        self.unknown.push(count);
    }

    /// A Set was acknowledged. Its generation follows the last one, but for Sets without an answer that were stored.
    pub(crate) fn acknowledged(&mut self, count: i32, generation: i64) -> Result<()> {
        let stored = generation - self.generation() - 1;
        self.absorb(stored)?;
        self.acknowledged = Some((count, generation));
        self.acknowledgements += 1;
        Ok(())
    }

    /// Compares it with what is stored in the end.
    pub(crate) fn check(&mut self, count: Option<i32>, generation: i64) -> Result<()> {
        match self.acknowledged {
            Some((expected, last)) if generation == last => {
                ensure!(count == Some(expected), "{expected} was acknowledged, and {count:?} is stored");
                Ok(())
            }
            Some(_) | None => {
                let stored = generation - self.generation();
                let known = count.is_some_and(|count| self.unknown.contains(&count));
                ensure!(stored == 0 || known, "{count:?} is stored, which was never sent");
                self.absorb(stored)
            }
        }
    }

    fn generation(&self) -> i64 {
        self.acknowledged.map_or(0, |(_, generation)| generation)
    }

    /// That many Sets without an answer were stored.
    fn absorb(&mut self, stored: i64) -> Result<()> {
        let possible = self.unknown.len();
        let stored = usize::try_from(stored).ok().filter(|stored| *stored <= possible);
        ensure!(
            stored.is_some(),
            "after generation {} an acknowledged Set was lost, or one came from nowhere",
            self.generation()
        );
        self.unknown.drain(..stored.unwrap_or_default());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A Set, and the generation of its answer if there was one.
    type Set = (i32, Option<i64>);

    /// The Sets, and what is stored in the end: count and generation.
    type Story = (&'static [Set], (Option<i32>, i64));

    fn play(sets: &[Set], stored: (Option<i32>, i64)) -> Result<()> {
        let mut ledger = Ledger::default();
        for (count, answer) in sets {
            match answer {
                Some(generation) => ledger.acknowledged(*count, *generation)?,
                None => ledger.unanswered(*count),
            }
        }
        ledger.check(stored.0, stored.1)
    }

    #[test]
    fn what_was_acknowledged_is_stored() {
        let good: [Story; 5] = [
            (&[], (None, 0)),
            (&[(5, Some(1)), (6, Some(2))], (Some(6), 2)),
            // Without an answer: stored or not.
            (&[(5, Some(1)), (6, None)], (Some(5), 1)),
            (&[(5, Some(1)), (6, None)], (Some(6), 2)),
            (&[(5, Some(1)), (6, None), (7, Some(3))], (Some(7), 3)),
        ];
        for (sets, stored) in good {
            play(sets, stored).unwrap();
        }
    }

    #[test]
    fn what_was_acknowledged_and_lost_is_found() {
        let bad: [Story; 6] = [
            (&[(5, Some(1)), (6, Some(2))], (Some(5), 1)),
            (&[(5, Some(1)), (6, Some(2))], (Some(5), 2)),
            // It was lost, and the generation given again.
            (&[(5, Some(1)), (6, Some(1))], (Some(6), 1)),
            // From nowhere.
            (&[(5, Some(1)), (6, Some(3))], (Some(6), 3)),
            (&[(5, Some(1)), (6, None)], (Some(9), 2)),
            (&[(5, Some(1))], (None, 0)),
        ];
        for (sets, stored) in bad {
            assert!(play(sets, stored).is_err(), "{sets:?} {stored:?}");
        }
    }
}
