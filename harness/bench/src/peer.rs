//! The Go operator in harness/bench/peer, which does the server's job: what a platform team would write instead.
//!
//! It takes the flags of the server, logs where it listens as the server does, and has its identity, so it is started,
//! asked and stopped as the server is: `Manager::start(&Peer::TunedGo.options(&control_plane, &scope).await?)`.

use anyhow::{Context as _, Result};
use replica_count_testbed::cluster::{Program, Programs};
use replica_count_testbed::control_plane::Scope;
use replica_count_testbed::{ControlPlane, manager};
use tokio::task;

use crate::server;

/// The configuration of the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// As its scaffold generates it.
    Go,
    /// With the changes of an expert.
    TunedGo,
}

impl Peer {
    /// Its options: like the server's, with a separate folder and settings. Builds the operator if necessary, which
    /// takes minutes.
    pub(crate) async fn options(
        self,
        control_plane: &ControlPlane,
        scope: &Scope,
    ) -> Result<manager::Options> {
        let program = task::spawn_blocking(|| Programs::from_env()?.ensure(Program::Peer));
        let program = program.await.context("the build of the Go operator panicked")??;
        let options = server::options(control_plane, scope).await?.with_program(program);
        Ok(match self {
            Self::Go => options,
            Self::TunedGo => options.argument("--tuned"),
        })
    }
}
