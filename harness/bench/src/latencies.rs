//! Latency samples and their statistics.

mod paired;

use std::time::Duration;

pub(crate) use paired::Interval;

/// Durations in the order in which they were measured.
#[derive(Clone, Debug, Default)]
pub(crate) struct Latencies(Vec<Duration>);

impl Latencies {
    /// Adds the durations of a block.
    pub(crate) fn extend(&mut self, block: &Self) {
        self.0.extend_from_slice(&block.0);
    }

    /// The number of durations.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Adds a duration.
    pub(crate) fn push(&mut self, latency: Duration) {
        self.0.push(latency);
    }

    /// A percentile in milliseconds, by the nearest-rank method; 0 for an empty sample.
    pub(crate) fn percentile_ms(&self, percent: usize) -> f64 {
        percentile(&mut self.0.clone(), percent).map_or(0.0, milliseconds)
    }

    /// The interval of the ratio of a percentile to that of another sample, which was measured in the same rounds.
    pub(crate) fn ratio_interval(&self, other: &Self, percent: usize) -> Interval {
        paired::ratio_interval(&self.0, &other.0, percent)
    }

    /// All durations, in milliseconds.
    pub(crate) fn to_ms(&self) -> Vec<f64> {
        self.0.iter().copied().map(milliseconds).collect()
    }
}

/// The median of figures; 0 for an empty slice.
pub(crate) fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

/// The smallest duration that `percent` of them do not exceed; `None` of nothing. It leaves them in another order.
fn percentile(durations: &mut [Duration], percent: usize) -> Option<Duration> {
    let place = (durations.len() * percent).div_ceil(100).saturating_sub(1);
    (place < durations.len()).then(|| *durations.select_nth_unstable(place).1)
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_members_of_the_sample() {
        let hundred = (1..=100).rev().collect::<Vec<u64>>();
        let cases: [(&[u64], usize, f64); 7] = [
            (&hundred, 50, 50.0),
            (&hundred, 99, 99.0),
            (&hundred, 100, 100.0),
            (&[3, 1, 2], 50, 2.0),
            (&[1, 2], 50, 1.0),
            (&[7], 99, 7.0),
            (&[], 50, 0.0),
        ];
        for (sample, percent, expected) in cases {
            let latencies = Latencies(sample.iter().copied().map(Duration::from_millis).collect());
            let actual = latencies.percentile_ms(percent);
            assert!((actual - expected).abs() < 1e-9, "{percent} % of {sample:?} is {actual}");
        }
    }
}
