//! `login`: remembers for a context how to call the server.

use std::time::Duration;

use clap::Args;
use replica_count_client::retry;

use crate::connect::{ConnectArgs, Origin, Pair, Profile, Route};
use crate::failure::Failure;
use crate::output::{print, words};

/// A server that has just started says that it is ready a moment later.
const PATIENCE: Duration = Duration::from_secs(5);

const EXAMPLES: &str = "\
Examples:
  # The server is found in the cluster; remember a certificate for it
  kubectl replicas login --ca ca.crt --cert alice.crt --key alice.key

  # Remember an address, too
  kubectl replicas login --server replicas.example.com:8080 --ca ca.crt --cert alice.crt --key alice.key

  # Forget both
  kubectl replicas login --forget

What is remembered is in ~/.config/kubectl-replicas, in a file for each context that only you can read.";

/// Remember how to call the server of this context
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct LoginArgs {
    /// Forget what is remembered
    #[arg(long)]
    forget: bool,
    #[command(flatten)]
    connect: ConnectArgs,
}

impl LoginArgs {
    /// Runs the command.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let context = self.connect.context()?.ok_or_else(|| {
            Failure::new("there is no context to remember this for")
                .advise("Name a kubeconfig with --kubeconfig FILE.")
        })?;
        let name = context.name().to_owned();
        if self.forget {
            return match Profile::forget(&name)? {
                Some(file) => print::out(&format!("deleted {}\n", file.display())),
                None => print::out(&format!("nothing is remembered for the context {name}\n")),
            };
        }
        // Nothing of an earlier profile counts.
        let session = self.connect.connect_with(Some(context), None).await?;
        let health = retry::until(PATIENCE, async || session.connection.health().await).await;
        health.map_err(|error| crate::connect::explain(&error.to_string(), &session.route, &session.pair))?;
        let profile = Profile {
            server: self.connect.server.clone(),
            server_name: self.connect.server_name.clone(),
            service: self.connect.service.clone(),
            pair: remembered(&session.pair),
        };
        let file = profile.write(&name)?;
        let server = match &session.route {
            Route::Direct(address) => format!("the server at {address}"),
            Route::Forward(service) => format!("the server behind the Service {service}"),
        };
        let certificate = session.pair.certificate();
        let user = certificate.map_or_else(String::new, |certificate| {
            format!(" as {}, until {}", certificate.user, words::second(certificate.not_after))
        });
        print::out(&format!("logged in to {server}{user}\nwrote {}\n", file.display()))
    }
}

/// A pair from a Secret is read again each time, because it may be renewed.
fn remembered(pair: &Pair) -> Option<Pair> {
    match pair.origin {
        Origin::File(_) | Origin::Profile => Some(pair.clone()),
        Origin::Secret(_) => None,
    }
}
