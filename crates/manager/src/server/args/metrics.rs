//! The flags of metrics.

use clap::Args;
use clap::builder::BoolishValueParser;

use super::values::at_most;

/// What metrics show.
#[derive(Debug, Args)]
#[command(next_help_heading = "Metrics")]
pub struct MetricsArgs {
    /// Show the counts and the state of each managed workload at /metrics, which everybody who reaches the port can read
    #[arg(long, env, value_parser = BoolishValueParser::new())]
    pub target_metrics: bool,
    /// How many workloads are shown; they are the first ones by namespace, kind and name
    #[arg(
        long,
        env,
        value_name = "COUNT",
        value_parser = at_most(100_000),
        default_value_t = 1_000,
        allow_negative_numbers = true
    )]
    pub target_metrics_limit: usize,
}

impl MetricsArgs {
    /// How many workloads are shown one by one. `None`: that is off.
    pub fn shown_targets(&self) -> Option<usize> {
        self.target_metrics.then_some(self.target_metrics_limit)
    }
}
