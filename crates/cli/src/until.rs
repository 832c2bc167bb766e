//! The flags `--for` and `--until`.

use std::time::Duration;

use clap::Args;
use jiff::Timestamp;

use crate::duration::parse_duration;
use crate::failure::Failure;

/// When something ends by itself.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct UntilArgs {
    /// End it by itself after this time, for example 90s, 15m, 2h30m or 1d
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration, conflicts_with = "until")]
    lasting: Option<Duration>,
    /// End it by itself at this time, for example 2030-01-01T08:00:00Z
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
}

impl UntilArgs {
    /// The time. `None`: it does not end by itself.
    pub fn time(self) -> Result<Option<Timestamp>, Failure> {
        match self.lasting {
            None => Ok(self.until),
            Some(duration) => Timestamp::now()
                .checked_add(duration)
                .map(Some)
                .map_err(|_| Failure::usage("--for is too long")),
        }
    }
}
