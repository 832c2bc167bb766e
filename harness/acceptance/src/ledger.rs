//! What a client was told of its Sets, and whether that is what the server kept.

use anyhow::{Result, bail, ensure};

/// The Sets of one client for one target that nobody else changes, in their order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    /// The last one that is known to be stored, as it was acknowledged or read: count and generation.
    stored: Option<(i32, i64)>,
    /// Counts of those without an answer. Each may have been stored, and may still be.
    unanswered: Vec<i32>,
    /// How many generations were explained by those.
    explained: usize,
    /// How many were acknowledged.
    pub(crate) acknowledgements: usize,
}

impl Ledger {
    /// A Set was sent and nothing is known of it.
    pub(crate) fn unanswered(&mut self, count: i32) {
        self.unanswered.push(count);
    }

    /// A Set was acknowledged. Its generation follows the last one, but for Sets without an answer that were stored.
    pub(crate) fn acknowledged(&mut self, count: i32, generation: i64) -> Result<()> {
        self.explain(generation - self.generation() - 1)?;
        self.stored = Some((count, generation));
        self.acknowledgements += 1;
        Ok(())
    }

    /// Compares it with what is read: the last one, or a later one without an answer.
    pub(crate) fn read(&mut self, count: Option<i32>, generation: i64) -> Result<()> {
        let last = self.generation();
        if generation == last {
            let expected = self.stored.map(|(count, _)| count);
            ensure!(count == expected, "{count:?} is read as generation {last}, which was {expected:?}");
            return Ok(());
        }
        let Some(count) = count.filter(|count| self.unanswered.contains(count)) else {
            bail!("after generation {last} {count:?} is read, which no Set without an answer can be");
        };
        self.explain(generation - last)?;
        self.stored = Some((count, generation));
        Ok(())
    }

    fn generation(&self) -> i64 {
        self.stored.map_or(0, |(_, generation)| generation)
    }

    /// That many generations are those of Sets without an answer.
    fn explain(&mut self, generations: i64) -> Result<()> {
        let explained = usize::try_from(generations).ok().map(|more| self.explained + more);
        let possible = explained.filter(|explained| *explained <= self.unanswered.len());
        let Some(explained) = possible else {
            bail!("after generation {} a stored Set was lost, or one came from nowhere", self.generation());
        };
        self.explained = explained;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use Event::{Acknowledged, Read, Unanswered};

    use super::*;

    /// What a client sees, in its order. A Get ends every story.
    #[derive(Clone, Copy, Debug)]
    enum Event {
        Acknowledged(i32, i64),
        Unanswered(i32),
        Read(Option<i32>, i64),
    }

    fn play(story: &[Event]) -> Result<()> {
        let mut ledger = Ledger::default();
        for event in story {
            match *event {
                Acknowledged(count, generation) => ledger.acknowledged(count, generation)?,
                Unanswered(count) => ledger.unanswered(count),
                Read(count, generation) => ledger.read(count, generation)?,
            }
        }
        Ok(())
    }

    #[test]
    fn what_was_acknowledged_is_stored() {
        let good: [&[Event]; 8] = [
            &[Read(None, 0)],
            &[Acknowledged(5, 1), Acknowledged(6, 2), Read(Some(6), 2)],
            // Without an answer: stored or not.
            &[Acknowledged(5, 1), Unanswered(6), Read(Some(5), 1)],
            &[Acknowledged(5, 1), Unanswered(6), Read(Some(6), 2)],
            &[Acknowledged(5, 1), Unanswered(6), Acknowledged(7, 3), Read(Some(7), 3)],
            &[Acknowledged(5, 1), Unanswered(6), Read(Some(6), 2), Acknowledged(7, 3), Read(Some(7), 3)],
            // Only one of them, and the other one later.
            &[Unanswered(5), Unanswered(6), Read(Some(6), 1), Read(Some(5), 2)],
            &[Unanswered(5), Unanswered(6), Acknowledged(7, 2), Read(Some(6), 3)],
        ];
        for story in good {
            play(story).unwrap();
        }
    }

    #[test]
    fn what_was_acknowledged_and_lost_is_found() {
        let bad: [&[Event]; 9] = [
            &[Acknowledged(5, 1), Acknowledged(6, 2), Read(Some(5), 1)],
            &[Acknowledged(5, 1), Acknowledged(6, 2), Read(Some(5), 2)],
            // It was lost, and the generation given again.
            &[Acknowledged(5, 1), Acknowledged(6, 1)],
            // The same, to one without an answer.
            &[Acknowledged(5, 1), Unanswered(6), Read(Some(6), 1), Acknowledged(7, 2), Read(Some(7), 2)],
            // What was read is stored as well.
            &[Unanswered(5), Read(Some(5), 1), Read(None, 0)],
            // From nowhere.
            &[Acknowledged(5, 1), Acknowledged(6, 3)],
            &[Acknowledged(5, 1), Unanswered(6), Read(Some(9), 2)],
            &[Acknowledged(5, 1), Unanswered(6), Read(Some(6), 3)],
            &[Acknowledged(5, 1), Read(None, 0)],
        ];
        for story in bad {
            assert!(play(story).is_err(), "{story:?}");
        }
    }
}
