//! Records the outcomes of a client's Sets, and checks them against what the server stored.

use anyhow::{Result, bail, ensure};

/// The Sets of one client, in order, for a target that no one else changes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    /// Count and generation of the last setting known to be stored, because it was acknowledged or read.
    stored: Option<(i32, i64)>,
    /// The counts of unanswered Sets. Each may have been stored, or may still be stored later.
    unanswered: Vec<i32>,
    /// How many generations are attributed to unanswered Sets.
    explained: usize,
    /// The number of acknowledged Sets.
    pub(crate) acknowledgements: usize,
}

impl Ledger {
    /// Records a Set with an unknown outcome.
    pub(crate) fn unanswered(&mut self, count: i32) {
        self.unanswered.push(count);
    }

    /// Records an acknowledged Set. Only stored, unanswered Sets may lie between its generation and the last one.
    pub(crate) fn acknowledged(&mut self, count: i32, generation: i64) -> Result<()> {
        self.explain(generation - self.generation() - 1)?;
        self.stored = Some((count, generation));
        self.acknowledgements += 1;
        Ok(())
    }

    /// Checks a setting that was read: it must be the last one, or a later, unanswered one.
    pub(crate) fn read(&mut self, count: Option<i32>, generation: i64) -> Result<()> {
        let last = self.generation();
        if generation == last {
            let expected = self.stored.map(|(count, _)| count);
            ensure!(count == expected, "read {count:?} at generation {last}, which was {expected:?}");
            return Ok(());
        }
        let Some(count) = count.filter(|count| self.unanswered.contains(count)) else {
            bail!("read {count:?} after generation {last}, which matches no unanswered Set");
        };
        self.explain(generation - last)?;
        self.stored = Some((count, generation));
        Ok(())
    }

    fn generation(&self) -> i64 {
        self.stored.map_or(0, |(_, generation)| generation)
    }

    /// Attributes this many generations to unanswered Sets.
    fn explain(&mut self, generations: i64) -> Result<()> {
        let explained = usize::try_from(generations).ok().map(|more| self.explained + more);
        let possible = explained.filter(|explained| *explained <= self.unanswered.len());
        let Some(explained) = possible else {
            bail!("after generation {}, a stored Set was lost or an unknown one appeared", self.generation());
        };
        self.explained = explained;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use Event::{Acknowledged, Read, Unanswered};

    use super::*;

    /// The observations of a client.
    #[derive(Clone, Copy, Debug)]
    enum Event {
        Acknowledged(i32, i64),
        Unanswered(i32),
        Read(Option<i32>, i64),
    }

    fn replay(history: &[Event]) -> Result<()> {
        let mut ledger = Ledger::default();
        for event in history {
            match *event {
                Acknowledged(count, generation) => ledger.acknowledged(count, generation)?,
                Unanswered(count) => ledger.unanswered(count),
                Read(count, generation) => ledger.read(count, generation)?,
            }
        }
        Ok(())
    }

    #[test]
    fn consistent_histories_pass() {
        let good: [&[Event]; 8] = [
            &[Read(None, 0)],
            &[Acknowledged(5, 1), Acknowledged(6, 2), Read(Some(6), 2)],
            // An unanswered Set may or may not be stored.
            &[Acknowledged(5, 1), Unanswered(6), Read(Some(5), 1)],
            &[Acknowledged(5, 1), Unanswered(6), Read(Some(6), 2)],
            &[Acknowledged(5, 1), Unanswered(6), Acknowledged(7, 3), Read(Some(7), 3)],
            &[Acknowledged(5, 1), Unanswered(6), Read(Some(6), 2), Acknowledged(7, 3), Read(Some(7), 3)],
            // One of two, and the other one later.
            &[Unanswered(5), Unanswered(6), Read(Some(6), 1), Read(Some(5), 2)],
            &[Unanswered(5), Unanswered(6), Acknowledged(7, 2), Read(Some(6), 3)],
        ];
        for history in good {
            replay(history).unwrap();
        }
    }

    #[test]
    fn lost_sets_are_detected() {
        let bad: [&[Event]; 9] = [
            &[Acknowledged(5, 1), Acknowledged(6, 2), Read(Some(5), 1)],
            &[Acknowledged(5, 1), Acknowledged(6, 2), Read(Some(5), 2)],
            // Lost, and its generation reused.
            &[Acknowledged(5, 1), Acknowledged(6, 1)],
            // The same, reused by an unanswered Set.
            &[Acknowledged(5, 1), Unanswered(6), Read(Some(6), 1), Acknowledged(7, 2), Read(Some(7), 2)],
            // A setting that was read is stored, too.
            &[Unanswered(5), Read(Some(5), 1), Read(None, 0)],
            // An unknown Set.
            &[Acknowledged(5, 1), Acknowledged(6, 3)],
            &[Acknowledged(5, 1), Unanswered(6), Read(Some(9), 2)],
            &[Acknowledged(5, 1), Unanswered(6), Read(Some(6), 3)],
            &[Acknowledged(5, 1), Read(None, 0)],
        ];
        for history in bad {
            assert!(replay(history).is_err(), "{history:?}");
        }
    }
}
