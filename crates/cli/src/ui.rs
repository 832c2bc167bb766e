//! `kubectl-replicas ui`: a page that shows what is managed and what happens, and changes settings.
//!
//! A local server serves the page on the loopback address and makes each call of the page with the user's own
//! connection, so the page can do exactly what the user may do.

mod access;
mod agenda;
mod browser;
mod calls;
mod drifts;
mod failure;
mod live;
mod page;
mod rows;
mod server;
mod shapes;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use clap::Args;
use tokio::net::TcpListener;
use tokio::signal;

use crate::connect::{ConnectArgs, Route, Session};
use crate::failure::Failure;
use crate::output::print;
use access::{Access, Secret};
use server::{About, Site};

const EXAMPLES: &str = "\
Examples:
  # Open the page in the browser
  kubectl replicas ui

  # Only one namespace, and on this port
  kubectl replicas ui -n shop --port 8123

  # On another machine: ssh -L 8123:127.0.0.1:8123 forwards it, then open the address that is printed
  kubectl replicas ui --no-browser --port 8123";

/// Show a page with all counts, live, in the browser
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct UiArgs {
    /// Namespace that the page begins with [default: all]
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// All namespaces
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    all_namespaces: bool,
    /// Port on 127.0.0.1 [default: a free one]
    #[arg(long, value_name = "PORT", default_value_t = 0, hide_default_value = true)]
    port: u16,
    /// Only print the address
    #[arg(long)]
    no_browser: bool,
    #[command(flatten)]
    connect: ConnectArgs,
}

impl UiArgs {
    /// Serves the page until Ctrl-C.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let session = self.connect.connect().await?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let (listener, port) = listen(address)
            .await
            .map_err(|error| Failure::new(format!("cannot listen on {address}: {error}")))?;
        let [token, ticket] = [secret()?, secret()?];
        let access = Access::new(port, token, ticket.clone());
        print::out(&format!(
            "{}\n\nServing the page at that address until Ctrl-C. Whoever has the address can do what you may do.\n",
            access.url()
        ))?;
        if !self.no_browser {
            let url = format!("http://127.0.0.1:{port}/?ticket={}", ticket.text());
            if let Err(error) = browser::open(&url) {
                print::note(&format!("The browser cannot be opened ({error}): open the address yourself."));
            }
        }
        let about = about(&session, self.namespace.unwrap_or_default());
        let site = Site { access, connection: session.connection, about };
        tokio::select! {
            served = server::serve(listener, site) => {
                served.map_err(|error| Failure::new(format!("the local server failed: {error}")))
            }
            _ = signal::ctrl_c() => Ok(()),
        }
    }
}

async fn listen(address: SocketAddr) -> io::Result<(TcpListener, u16)> {
    let listener = TcpListener::bind(address).await?;
    let port = listener.local_addr()?.port();
    Ok((listener, port))
}

fn secret() -> Result<Secret, Failure> {
    Secret::new().map_err(|error| Failure::new(format!("the system has no random numbers: {error}")))
}

fn about(session: &Session, namespace: String) -> About {
    let server = match &session.route {
        Route::Direct(address) => address.to_string(),
        Route::Forward(service) => format!("{}/{}", service.namespace, service.name),
    };
    let user = session.pair.certificate().map(|certificate| certificate.user).unwrap_or_default();
    About {
        version: env!("CARGO_PKG_VERSION"),
        server,
        user,
        namespace,
        own_namespace: session.namespace().to_owned(),
    }
}
