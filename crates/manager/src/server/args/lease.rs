//! The flags of the election.

use std::fs;
use std::path::Path;
use std::time::Duration;

use clap::Args;
use replica_count_core::leader::{Timing, TimingError};

use super::values::{duration, name, namespace};

/// Where Kubernetes tells each pod its namespace.
const OWN_NAMESPACE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";
/// The name of a server that runs in no pod.
const NO_POD: &str = "replica-count-manager";

/// With --store=crd: the Lease whose holder enforces.
#[derive(Debug, Args)]
#[command(next_help_heading = "Election (--store=crd)")]
pub struct LeaseArgs {
    /// Name of the Lease: of all servers with the same one, one enforces
    #[arg(long, env, value_name = "NAME", value_parser = name, default_value = "replica-count-manager")]
    pub lease_name: String,
    /// Namespace of the Lease [default: the namespace of the pod]
    #[arg(long, env, value_name = "NAMESPACE", value_parser = namespace)]
    pub lease_namespace: Option<String>,
    /// How long the others wait for a holder that crashed, in whole seconds
    #[arg(long, env, value_name = "TIME", value_parser = duration, default_value = "15s")]
    pub lease_duration: Duration,
    /// How long after its last renewal the holder still writes; no write takes longer
    #[arg(long, env, value_name = "TIME", value_parser = duration, default_value = "10s")]
    pub lease_renew_deadline: Duration,
    /// How often the Lease is renewed
    #[arg(long, env, value_name = "TIME", value_parser = duration, default_value = "2s")]
    pub lease_retry_period: Duration,
    /// Name of the pod, as the Lease shows it [default: $HOSTNAME]
    #[arg(long, env, value_name = "NAME", value_parser = name)]
    pub pod_name: Option<String>,
}

impl LeaseArgs {
    /// How long things take.
    pub fn timing(&self) -> Timing {
        Timing {
            duration: self.lease_duration,
            renew_deadline: self.lease_renew_deadline,
            retry_period: self.lease_retry_period,
        }
    }

    /// Checks that the times fit together. The error is one line.
    pub fn check(&self) -> Result<(), String> {
        self.timing().check().map_err(|error| {
            let flag = match error {
                TimingError::Duration => "--lease-duration",
                TimingError::RenewDeadline => "--lease-renew-deadline",
                TimingError::RetryPeriod => "--lease-retry-period",
            };
            format!("{flag} is not usable: {error}")
        })
    }

    /// The namespace of the Lease. The error is one line.
    pub fn namespace(&self) -> Result<String, String> {
        self.namespace_or(Path::new(OWN_NAMESPACE))
    }

    fn namespace_or(&self, file: &Path) -> Result<String, String> {
        if let Some(namespace) = &self.lease_namespace {
            return Ok(namespace.clone());
        }
        let text = fs::read_to_string(file).map_err(|_outside| {
            "this server runs in no pod, so it does not know where the Lease of the election is: set --lease-namespace"
                .to_owned()
        })?;
        namespace(text.trim()).map_err(|error| format!("{}: {error}", file.display()))
    }

    /// The name of the pod, or of this program.
    pub fn pod(&self) -> String {
        let host = || std::env::var("HOSTNAME").ok().filter(|host| name(host).is_ok());
        self.pod_name.clone().or_else(host).unwrap_or_else(|| NO_POD.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use tempfile::TempDir;

    use super::*;

    #[derive(clap::Parser)]
    struct Program {
        #[command(flatten)]
        lease: LeaseArgs,
    }

    fn parse(arguments: &[&str]) -> LeaseArgs {
        Program::try_parse_from(["program"].iter().chain(arguments)).unwrap().lease
    }

    #[test]
    fn the_defaults_are_those_of_kubernetes() {
        let lease = parse(&[]);
        assert_eq!(lease.timing(), Timing::default());
        assert_eq!(lease.check(), Ok(()));
    }

    #[test]
    fn times_that_do_not_fit_together_name_the_flag() {
        for (arguments, flag) in [
            (["--lease-duration", "1500ms"], "--lease-duration"),
            (["--lease-renew-deadline", "15s"], "--lease-renew-deadline"),
            (["--lease-retry-period", "5s"], "--lease-retry-period"),
        ] {
            let error = parse(&arguments).check().unwrap_err();
            assert!(error.starts_with(&format!("{flag} is not usable: ")), "{error}");
        }
    }

    #[test]
    fn the_namespace_is_the_flag_or_that_of_the_pod() {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("namespace");
        let error = parse(&[]).namespace_or(&file).unwrap_err();
        assert!(error.ends_with("set --lease-namespace"), "{error}");
        fs::write(&file, "tools\n").unwrap();
        assert_eq!(parse(&[]).namespace_or(&file).unwrap(), "tools");
        assert_eq!(parse(&["--lease-namespace", "other"]).namespace_or(&file).unwrap(), "other");
        fs::write(&file, "No Namespace").unwrap();
        parse(&[]).namespace_or(&file).unwrap_err();
    }
}
