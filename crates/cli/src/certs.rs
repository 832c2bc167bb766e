//! The `certs` command: creates certificates for development, so that the first call over mTLS needs no other tool.
//!
//! The folders are those of the README's `grpcurl` lines. `server/` holds everything that the server's default flags
//! expect in `/certificates`, so it can be mounted there.

mod authority;
mod error;
mod name;
mod staging;
mod subject;
#[cfg(test)]
mod tests;

use std::io::{self, Write};
use std::path::PathBuf;

use authority::{Authority, Pair, Validity};
use clap::{Args, Subcommand};
pub use error::CertsError;
use jiff::Timestamp;
use name::{Group, Host, Uri, UserName};
use staging::Staging;

/// The user name of the client that the first run creates.
const FIRST_CLIENT: &str = "client";

const EXAMPLES: &str = "\
Examples:
  A CA, a server pair and a client pair in ./certificates:
    kubectl-replicas certs
  The same for a server that has another name and address, too:
    kubectl-replicas certs --host replicas.example.com --host 192.0.2.10
  A client pair for another user, signed by the same CA:
    kubectl-replicas certs client --name alice --group ops

The certificates are for development. --force also creates a new CA, so certificates signed by the old one stop working.";

const CLIENT_EXAMPLES: &str = "\
Examples:
  kubectl-replicas certs client --name alice --group ops --group admins
  kubectl-replicas certs client --name deployer --uri spiffe://example.org/ns/ci/sa/deployer

The name is the user (CN) and the groups are its groups (O). With --uri, the URI is the user instead of the name.";

/// Make certificates for development: a CA, a server pair and a client pair.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true, after_help = EXAMPLES)]
pub struct CertsArgs {
    #[command(subcommand)]
    command: Option<CertsCommand>,

    /// An additional DNS name or IP address of the server; may be repeated
    #[arg(long = "host", value_name = "NAME_OR_IP")]
    hosts: Vec<Host>,

    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Subcommand, Debug)]
enum CertsCommand {
    /// Make a client pair for another user, signed by the CA that `certs` created
    Client(ClientArgs),
}

/// The identity of the user.
#[derive(Args, Debug)]
#[command(after_help = CLIENT_EXAMPLES)]
struct ClientArgs {
    /// The name of the user, of the folder and of the files
    #[arg(long)]
    name: UserName,

    /// A group of the user; may be repeated
    #[arg(long = "group", value_name = "GROUP")]
    groups: Vec<Group>,

    /// A URI that identifies the user instead of the name (SPIFFE)
    #[arg(long, value_name = "URI")]
    uri: Option<Uri>,

    #[command(flatten)]
    output: OutputArgs,
}

/// Where the files go, and how long the certificates are valid.
#[derive(Args, Debug)]
struct OutputArgs {
    /// The folder of all certificates
    #[arg(long, value_name = "DIR", default_value = "certificates")]
    dir: PathBuf,

    /// Days until the certificates expire
    #[arg(long, value_name = "N", default_value_t = 365, value_parser = clap::value_parser!(u16).range(1..=3650))]
    days: u16,

    /// Replace files that exist
    #[arg(long)]
    force: bool,
}

impl CertsArgs {
    /// Creates the certificates and prints which files were written.
    pub fn run(self) -> Result<(), CertsError> {
        self.create(Timestamp::now(), &mut io::stdout().lock())
    }

    /// Creates the certificates as if it were `now`, and prints to `out` which files were written.
    pub fn create(self, now: Timestamp, out: &mut impl Write) -> Result<(), CertsError> {
        match self.command {
            None => create_all(&self.hosts, &self.output, now, out),
            Some(CertsCommand::Client(user)) => create_client(&user, now, out),
        }
    }
}

fn create_all(
    hosts: &[Host],
    output: &OutputArgs,
    now: Timestamp,
    out: &mut impl Write,
) -> Result<(), CertsError> {
    let dir = &output.dir;
    let validity = Validity::starting(now, output.days);
    let authority = Authority::new(validity)?;
    let server = authority.server(hosts, validity)?;
    let client = authority.client(FIRST_CLIENT, &[], None, validity)?;

    let mut files = Staging::new(output.force);
    files.add(dir.join("ca/ca.key"), authority.key_pem())?;
    files.add(dir.join("ca/ca.crt"), authority.certificate_pem())?;
    files.add(dir.join("server/ca.crt"), authority.certificate_pem())?;
    add_pair(&mut files, output, "server", server)?;
    add_pair(&mut files, output, FIRST_CLIENT, client)?;

    let written = files.write()?;
    report(out, &written, &all_hint(dir)).map_err(CertsError::Report)
}

fn create_client(user: &ClientArgs, now: Timestamp, out: &mut impl Write) -> Result<(), CertsError> {
    let output = &user.output;
    let name = user.name.as_str();
    let mut files = Staging::new(output.force);
    let authority = Authority::load(&output.dir.join("ca"), now)?;
    let validity = Validity::starting(now, output.days);
    let pair = authority.client(name, &user.groups, user.uri.as_ref(), validity)?;
    add_pair(&mut files, output, name, pair)?;

    let written = files.write()?;
    let dir = output.dir.display();
    let hint = format!(
        "Next, call the server as {name}: grpcurl -cacert {dir}/ca/ca.crt -cert {dir}/{name}/{name}.crt -key {dir}/{name}/{name}.key localhost:8080 list"
    );
    report(out, &written, &hint).map_err(CertsError::Report)
}

/// Adds the key first, so that if the second rename fails, there is no certificate without its key.
fn add_pair(files: &mut Staging, output: &OutputArgs, name: &str, pair: Pair) -> Result<(), CertsError> {
    let folder = output.dir.join(name);
    files.add(folder.join(format!("{name}.key")), pair.key_pem)?;
    files.add(folder.join(format!("{name}.crt")), pair.certificate_pem)
}

fn all_hint(dir: &std::path::Path) -> String {
    let dir = dir.display();
    format!(
        "Next, start the server:\n  \
         replica-count-manager --cert-file {dir}/server/server.crt --key-file {dir}/server/server.key \
         --ca-cert-file {dir}/server/ca.crt\n\
         and list its services:\n  \
         grpcurl -cacert {dir}/ca/ca.crt -cert {dir}/client/client.crt -key {dir}/client/client.key \
         localhost:8080 list"
    )
}

fn report(out: &mut impl Write, written: &[PathBuf], hint: &str) -> io::Result<()> {
    for file in written {
        writeln!(out, "wrote {}", file.display())?;
    }
    writeln!(out, "{hint}")?;
    out.flush()
}
