//! The confidence interval of a ratio: a paired bootstrap.
//!
//! Noise on the machine reaches all contestants in the rounds that are played meanwhile. So rounds are resampled, each with
//! the durations of both, rather than the durations of each by themselves.

use std::time::Duration;

use serde::Serialize;

use super::percentile;

/// How many resamples are drawn, each of as many rounds as there were.
const RESAMPLES: usize = 2_000;

/// Always the same, so that the same durations have the same interval.
const SEED: u64 = 20_261_127;

/// What is cut off at each end, in parts of a thousand.
const TAIL: usize = 25;

/// Where the ratios of 95 % of the resamples lie.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Interval {
    pub(crate) low: f64,
    pub(crate) high: f64,
}

/// The interval of the ratio of a percentile of `ours` to that of `theirs`, which were measured in the same rounds.
///
/// # Panics
///
/// If there are no rounds, or not the same for both.
pub(super) fn ratio_interval(ours: &[Duration], theirs: &[Duration], percent: usize) -> Interval {
    assert!(ours.len() == theirs.len() && !ours.is_empty(), "both have played the same rounds");
    let mut random = fastrand::Rng::with_seed(SEED);
    let (mut drawn_ours, mut drawn_theirs) = (ours.to_vec(), theirs.to_vec());
    let resample = |_| {
        for (drawn_ours, drawn_theirs) in drawn_ours.iter_mut().zip(&mut drawn_theirs) {
            let round = random.usize(..ours.len());
            (*drawn_ours, *drawn_theirs) = (ours[round], theirs[round]);
        }
        let [ours, theirs] = [&mut drawn_ours, &mut drawn_theirs]
            .map(|durations| percentile(durations, percent).expect("there are rounds"));
        ours.as_secs_f64() / theirs.as_secs_f64()
    };
    let mut ratios: Vec<f64> = (0..RESAMPLES).map(resample).collect();
    ratios.sort_unstable_by(f64::total_cmp);
    let tail = RESAMPLES * TAIL / 1000;
    Interval { low: ratios[tail], high: ratios[RESAMPLES - 1 - tail] }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(seed: u64, rounds: usize) -> Vec<Duration> {
        let mut random = fastrand::Rng::with_seed(seed);
        (0..rounds).map(|_| Duration::from_micros(random.u64(1_000..9_000))).collect()
    }

    fn twice(durations: &[Duration]) -> Vec<Duration> {
        durations.iter().map(|duration| *duration * 2).collect()
    }

    #[test]
    fn what_both_have_in_a_round_makes_nothing_unsure() {
        let theirs = noise(1, 200);
        for percent in [50, 99] {
            let Interval { low, high } = ratio_interval(&twice(&theirs), &theirs, percent);
            assert!((low - 2.0).abs() < 1e-9 && (high - 2.0).abs() < 1e-9, "p{percent}: {low} to {high}");
        }
    }

    #[test]
    fn more_rounds_make_it_surer() {
        let width = |rounds| {
            let [mut ours, mut theirs] = [1, 2].map(|seed| noise(seed, rounds));
            let Interval { low, high } = ratio_interval(&ours, &theirs, 50);
            let median = |durations| percentile(durations, 50).expect("there are rounds").as_secs_f64();
            let ratio = median(&mut ours) / median(&mut theirs);
            assert!(low < ratio && ratio < high, "{rounds} rounds: {ratio} of {low} to {high}");
            high - low
        };
        let (few, many) = (width(100), width(2_500));
        assert!(many < few / 3.0, "{few} and {many}");
    }

    #[test]
    fn every_round_can_be_drawn() {
        let ours = [[Duration::from_millis(1); 100], [Duration::from_millis(3); 100]].concat();
        let expected = Interval { low: 1.0, high: 3.0 };
        assert_eq!(ratio_interval(&ours, &[Duration::from_millis(1); 200], 50), expected);
    }

    #[test]
    fn the_same_durations_have_the_same_interval() {
        let [ours, theirs] = [1, 2].map(|seed| noise(seed, 100));
        assert_eq!(ratio_interval(&ours, &theirs, 50), ratio_interval(&ours, &theirs, 50));
    }
}
