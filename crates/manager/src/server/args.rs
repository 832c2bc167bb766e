//! The command line and the environment, validated before anything is bound or connected.

pub mod kubernetes;
pub mod lease;
pub mod log;
pub mod metrics;
pub mod otlp;
mod store;
pub mod tell;
mod values;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use replica_count_core::guard::Mode;
use replica_count_core::history::Bounds;
use replica_count_core::kind::Kind;
use replica_count_core::policy::Policy;
use replica_count_core::replicas::Replicas;
use replica_count_core::scope::Scope;
use replica_count_core::setting::Enforcement;

use self::kubernetes::KubernetesArgs;
use self::lease::LeaseArgs;
use self::log::LogArgs;
use self::metrics::MetricsArgs;
use self::otlp::OtlpArgs;
pub use self::store::{StoreArg, StoreArgs};
use self::tell::TellArgs;
use self::values::{
    KindSet, NamespaceSet, OwnWorkload, at_most, kinds, name, namespaces, own_workload, replicas,
};
use crate::guards::Guards;
use crate::kubernetes::source::Source;
use crate::net::tls::{AuthorityFile, TlsFiles};
use crate::reconcile::guard_keeper::GuardSettings;
use crate::server::check::CheckArgs;
use crate::server::moved::MovedArgs;
use crate::server::notify::NotifyArgs;
use crate::server::transfer::TransferArgs;
use crate::store::Rules;

const AFTER_HELP: &str = "\
Without a command, the server starts. Every flag can also be set by the environment variable that its help names.

Examples:
  kubectl-replicas certs                           create development certificates in ./certificates
  replica-count-manager --file-path replicas.json --cert-file certificates/server/server.crt \\
    --key-file certificates/server/server.key --ca-cert-file certificates/ca/ca.crt

Exit status: 0 after SIGTERM or SIGINT, 64 when a flag or a file that it names is not usable, 1 when the server fails.";

/// One source of truth for the replica counts of Kubernetes Deployments.
#[derive(Debug, Parser)]
#[command(name = "replica-count-manager", version, after_help = AFTER_HELP, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// The command to run instead of serving.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The flags of the server.
    #[command(flatten)]
    pub serve: ServeArgs,
}

/// The commands besides serving.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Has moved to `kubectl-replicas certs`, which creates certificates for development
    #[command(disable_help_flag = true)]
    Certs(MovedArgs),
    /// Call a server over mutual TLS, to check that it is healthy and lists what it manages
    Check(CheckArgs),
    /// Store the settings of the file as ReplicaCounts
    Import(TransferArgs),
    /// Store the ReplicaCounts in the file, as settings
    Export(TransferArgs),
    /// Show what notifications look like, or send one, with receivers and routes of a file
    Notify(NotifyArgs),
    /// Print the CustomResourceDefinition of ReplicaCounts, for `kubectl apply --server-side -f -`
    Crd,
    /// Print a script that completes this command line in your shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// The flags of the server.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Where to listen.
    #[command(flatten)]
    pub listen: ListenArgs,
    /// Where settings are kept.
    #[command(flatten)]
    pub store: StoreArgs,
    /// The files of mutual TLS.
    #[command(flatten)]
    pub tls: TlsArgs,
    /// What clients may do.
    #[command(flatten)]
    pub authorization: AuthorizationArgs,
    /// The cluster.
    #[command(flatten)]
    pub kubernetes: KubernetesArgs,
    /// What is managed.
    #[command(flatten)]
    pub policy: PolicyArgs,
    /// What the API server keeps.
    #[command(flatten)]
    pub guard: GuardArgs,
    /// The election.
    #[command(flatten)]
    pub lease: LeaseArgs,
    /// What is remembered.
    #[command(flatten)]
    pub history: HistoryArgs,
    /// What others are told.
    #[command(flatten)]
    pub tell: TellArgs,
    /// What metrics show.
    #[command(flatten)]
    pub metrics: MetricsArgs,
    /// Where traces are sent.
    #[command(flatten)]
    pub otlp: OtlpArgs,
    /// What is logged.
    #[command(flatten)]
    pub log: LogArgs,
}

/// Where to listen.
#[derive(Debug, Args)]
#[command(next_help_heading = "Listening")]
pub struct ListenArgs {
    /// Address of the gRPC API (mutual TLS only); [::] is all addresses, of IPv4 too
    #[arg(long, env, value_name = "ADDRESS:PORT", default_value = "[::]:8080")]
    pub grpc_address: SocketAddr,
    /// Address of /healthz, /livez, /readyz and /metrics (plain HTTP)
    #[arg(long, env, value_name = "ADDRESS:PORT", default_value = "[::]:8081")]
    pub http_address: SocketAddr,
}

/// The files of mutual TLS.
#[derive(Debug, Args)]
#[command(next_help_heading = "Mutual TLS")]
pub struct TlsArgs {
    /// Certificate chain of this server (PEM)
    #[arg(long, env, value_name = "FILE", default_value = "/certificates/server.crt")]
    pub cert_file: PathBuf,
    /// Private key of that certificate (PEM)
    #[arg(long, env, value_name = "FILE", default_value = "/certificates/server.key")]
    pub key_file: PathBuf,
    /// Certificates of the authorities that sign client certificates and this server's certificate (PEM)
    #[arg(long, env, value_name = "FILE", default_value = "/certificates/ca.crt")]
    pub ca_cert_file: PathBuf,
    /// Certificates of the authorities that sign client certificates (PEM), if others sign this server's; then
    /// --ca-cert-file is not read [default: --ca-cert-file]
    #[arg(long, env, value_name = "FILE")]
    pub client_ca_file: Option<PathBuf>,
}

/// What clients may do.
#[derive(Debug, Args)]
#[command(next_help_heading = "Authorization")]
pub struct AuthorizationArgs {
    /// Who decides what a client with a valid certificate may do
    #[arg(long, env, value_enum, default_value_t = AuthorizationMode::AlwaysAllow)]
    pub authorization_mode: AuthorizationMode,
}

/// What is managed.
#[derive(Debug, Args)]
#[command(next_help_heading = "Policy")]
pub struct PolicyArgs {
    /// Whether drift is repaired; `ignore` only watches and counts, and removes the guards of this server's --guard-name
    #[arg(long, env, value_enum, default_value_t = EnforcementArg::Enforce)]
    pub enforcement: EnforcementArg,
    /// Namespaces that are never managed, separated by commas
    #[arg(
        long,
        env,
        value_name = "NAMESPACES",
        value_parser = namespaces,
        default_value = "kube-system,kube-public,kube-node-lease"
    )]
    pub exclude_namespaces: NamespaceSet,
    /// Kinds of workloads that are managed, separated by commas
    #[arg(long, env, value_name = "KINDS", value_parser = kinds, default_value_t = KindSet(Kind::ALL.into()))]
    pub kinds: KindSet,
    /// The workload that this server runs in, which it never manages: NAMESPACE/NAME of a Deployment, or
    /// NAMESPACE/statefulset/NAME [default: none]
    #[arg(long, env, value_name = "WORKLOAD", value_parser = own_workload, default_value = "", hide_default_value = true)]
    pub own_workload: OwnWorkload,
    /// Largest replica count that SetDeployment accepts
    #[arg(long, env, value_name = "COUNT", value_parser = replicas, default_value = "1000", allow_negative_numbers = true)]
    pub max_replicas: Replicas,
}

/// What the API server keeps.
#[derive(Debug, Args)]
#[command(next_help_heading = "Guard")]
pub struct GuardArgs {
    /// What the API server does with other counts, by policies that the Helm chart installs
    #[arg(long, env, value_enum, default_value_t = GuardArg::Off)]
    pub guard: GuardArg,
    /// Name of the ReplicaGuard objects that this server keeps
    #[arg(long, env, value_name = "NAME", value_parser = name, default_value = "replica-count-manager")]
    pub guard_name: String,
    /// How people change a count, as the messages of the policies say it
    #[arg(long, env, value_name = "TEXT", default_value = "call SetDeployment of replica-count-manager")]
    pub guard_how: String,
}

/// What is remembered.
#[derive(Debug, Args)]
#[command(next_help_heading = "History")]
pub struct HistoryArgs {
    /// How many events of each workload are remembered; 0 is none
    #[arg(
        long,
        env,
        value_name = "COUNT",
        value_parser = at_most(10_000),
        default_value_t = Bounds::DEFAULT.per_target,
        allow_negative_numbers = true
    )]
    pub history_per_target: usize,
    /// How much memory all remembered events may take together, in bytes; 0 is none
    #[arg(
        long,
        env,
        value_name = "BYTES",
        value_parser = at_most(1 << 30),
        default_value_t = Bounds::DEFAULT.bytes,
        allow_negative_numbers = true
    )]
    pub history_bytes: usize,
}

/// Whether drift is repaired.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum EnforcementArg {
    /// Repair drift
    Enforce,
    /// Only watch and count
    Ignore,
}

/// Who decides what a client may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AuthorizationMode {
    /// Every client may do everything
    AlwaysAllow,
    /// The RBAC rules of Kubernetes for `replicacounts.replicacount.dev`
    Rbac,
}

/// What the API server does with other counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum GuardArg {
    /// Nothing: the server watches and repairs
    Off,
    /// Store them, and warn the client; the server repairs
    Warn,
    /// Refuse them
    Deny,
    /// Store the desired count instead
    Correct,
    /// `correct` where the API server can (Kubernetes 1.36), otherwise `warn`
    Auto,
}

impl ServeArgs {
    /// Checks flags that are valid alone, but not together. The error is one line.
    pub fn check(&self) -> Result<(), String> {
        self.lease.check()?;
        let Scope { only, excluded, .. } = self.policy().scope;
        match only {
            Some(only) if excluded.contains(&only) => {
                let excluded = Vec::from_iter(excluded).join(", ");
                Err(format!(
                    "--namespace {only} is one of --exclude-namespaces ({excluded}), so nothing would be managed: \
                     choose another namespace, or exclude others (none: --exclude-namespaces=)"
                ))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Where the connection to the cluster is configured.
    pub fn source(&self) -> Source {
        Source { kubeconfig: self.kubernetes.kubeconfig.clone(), context: self.kubernetes.context.clone() }
    }

    /// By what ReplicaCounts are judged.
    pub fn rules(&self) -> Rules {
        Rules { max_replicas: self.policy.max_replicas, authors: self.store.authors() }
    }

    /// The server-wide policy.
    pub fn policy(&self) -> Policy {
        Policy {
            scope: Scope {
                only: self.kubernetes.namespace.0.clone(),
                excluded: self.policy.exclude_namespaces.0.clone(),
                kinds: self.policy.kinds.0.clone(),
                own: self.policy.own_workload.0.clone(),
            },
            enforcement: match self.policy.enforcement {
                EnforcementArg::Enforce => Enforcement::Enforce,
                EnforcementArg::Ignore => Enforcement::Ignore { until: None },
            },
        }
    }

    /// How much is remembered.
    pub fn history_bounds(&self) -> Bounds {
        Bounds { per_target: self.history.history_per_target, bytes: self.history.history_bytes }
    }

    /// The guards, of which nothing is known yet.
    pub fn guards(&self) -> Guards {
        if self.guard.guard == GuardArg::Off {
            Guards::default()
        } else {
            Guards::new(self.guard.guard_name.clone())
        }
    }

    /// How guards are kept. `None`: there are none.
    pub fn guard_settings(&self) -> Option<GuardSettings> {
        let mode = match self.guard.guard {
            GuardArg::Off => return None,
            GuardArg::Warn => Some(Mode::Warn),
            GuardArg::Deny => Some(Mode::Deny),
            GuardArg::Correct => Some(Mode::Correct),
            GuardArg::Auto => None,
        };
        Some(GuardSettings { mode, how: self.guard.guard_how.clone() })
    }

    /// The files of mutual TLS.
    pub fn tls_files(&self) -> TlsFiles {
        TlsFiles {
            cert: self.tls.cert_file.clone(),
            key: self.tls.key_file.clone(),
            ca: match &self.tls.client_ca_file {
                None => AuthorityFile::OfBoth(self.tls.ca_cert_file.clone()),
                Some(file) => AuthorityFile::OfClients(file.clone()),
            },
        }
    }
}

/// The error message of the command-line parser, in one line.
pub fn one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let paragraph = text.split("\n\n").next().unwrap_or_default();
    let line = paragraph.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    line.trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::CommandFactory;
    use replica_count_core::target::Target;

    use super::*;

    #[test]
    fn the_command_line_is_valid() {
        Cli::command().debug_assert();
    }

    #[track_caller]
    fn check_refused(arguments: &[&str], expected: &str) {
        let arguments = ["replica-count-manager"].iter().chain(arguments);
        let message = one_line(&Cli::try_parse_from(arguments).expect_err("refused"));
        assert_eq!(message, expected);
    }

    #[test]
    fn an_invalid_flag_is_named_in_one_line() {
        check_refused(
            &["--grpc-address", "nowhere"],
            "invalid value 'nowhere' for '--grpc-address <ADDRESS:PORT>': invalid socket address syntax",
        );
        check_refused(
            &["--namespace", "My_App"],
            "invalid value 'My_App' for '--namespace <NAMESPACE>': namespace \"My_App\" is not valid: use lower-case \
             letters, digits and '-', and begin and end with a letter or digit",
        );
        for arguments in [&["--max-replicas", "-1"][..], &["--max-replicas=-1"]] {
            check_refused(
                arguments,
                "invalid value '-1' for '--max-replicas <COUNT>': -1 is negative; a replica count is 0 or more",
            );
        }
        check_refused(
            &["--enforcement", "maybe"],
            "invalid value 'maybe' for '--enforcement <ENFORCEMENT>' [possible values: enforce, ignore]",
        );
        check_refused(
            &["--kinds", "deployments,daemonsets"],
            &format!(
                "invalid value 'deployments,daemonsets' for '--kinds <KINDS>': \"daemonsets\" is not known; known are: {}",
                KindSet(Kind::ALL.into())
            ),
        );
        check_refused(
            &["--kinds", ","],
            &format!(
                "invalid value ',' for '--kinds <KINDS>': name at least one of: {}",
                KindSet(Kind::ALL.into())
            ),
        );
        check_refused(
            &["--own-workload", "tools"],
            "invalid value 'tools' for '--own-workload <WORKLOAD>': write NAMESPACE/NAME for a Deployment, or \
             NAMESPACE/statefulset/NAME",
        );
        check_refused(
            &["--exclude-namespaces", "a,B"],
            "invalid value 'a,B' for '--exclude-namespaces <NAMESPACES>': namespace \"B\" is not valid: use lower-case \
             letters, digits and '-', and begin and end with a letter or digit",
        );
    }

    #[test]
    fn the_defaults_match_the_design() {
        let cli = Cli::try_parse_from(["replica-count-manager"]).expect("valid");
        let policy = cli.serve.policy();
        assert_eq!(policy.scope.only, None);
        let excluded: Vec<_> = policy.scope.excluded.iter().map(String::as_str).collect();
        assert_eq!(excluded, ["kube-node-lease", "kube-public", "kube-system"]);
        assert_eq!(policy.scope.kinds, BTreeSet::from(Kind::ALL));
        assert_eq!(cli.serve.policy.max_replicas.get(), 1000);
        let listen = cli.serve.listen;
        let addresses = [listen.grpc_address, listen.http_address].map(|address| address.to_string());
        assert_eq!(addresses, ["[::]:8080", "[::]:8081"]);
    }

    #[test]
    fn the_only_namespace_cannot_be_excluded() {
        let check = |arguments: &[&str]| {
            let arguments = ["replica-count-manager"].iter().chain(arguments);
            Cli::try_parse_from(arguments).expect("valid").serve.check()
        };
        let expected = "--namespace kube-system is one of --exclude-namespaces \
                        (kube-node-lease, kube-public, kube-system), so nothing would be managed: choose another \
                        namespace, or exclude others (none: --exclude-namespaces=)";
        assert_eq!(check(&["--namespace", "kube-system"]), Err(expected.to_owned()));
        check(&["--namespace", "a", "--exclude-namespaces", "b,a"]).expect_err("excluded");
        for arguments in
            [&[][..], &["--namespace", "a"], &["--namespace", "kube-system", "--exclude-namespaces="]]
        {
            assert_eq!(check(arguments), Ok(()), "{arguments:?}");
        }
    }

    #[test]
    fn the_own_workload_may_be_of_any_kind() {
        for (text, expected) in [
            ("", None),
            ("tools/manager", Some(Target::deployment("tools", "manager"))),
            ("tools/statefulset/manager", Some(Target::new(Kind::StatefulSet, "tools", "manager"))),
        ] {
            let cli = Cli::try_parse_from(["replica-count-manager", "--own-workload", text]).expect("valid");
            assert_eq!(cli.serve.policy().scope.own, expected.map(|target| target.expect("valid")));
        }
    }

    #[test]
    fn excluding_no_namespace_is_possible() {
        let cli = Cli::try_parse_from(["replica-count-manager", "--exclude-namespaces", ""]).expect("valid");
        assert!(cli.serve.policy().scope.excluded.is_empty());
    }
}
