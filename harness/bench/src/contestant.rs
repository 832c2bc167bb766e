//! Who does the job: the server, and those that it is measured beside.

use std::borrow::Cow;
use std::fs;
use std::path::PathBuf;

use anyhow::Result;
use replica_count_testbed::control_plane::Scope;
use replica_count_testbed::{ControlPlane, manager};
use serde::Serialize;
use serde_json::{Value, json};

use crate::fleet::Fleet;
use crate::peer::Peer;
use crate::server;
use crate::table::{Rival, Row, Unit};

/// Who can be measured. All are started, asked and stopped alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Contestant {
    /// The server.
    Ours,
    /// The server of an earlier commit, whose program this is.
    Baseline(PathBuf),
    /// The Go operator.
    Peer(Peer),
}

impl Contestant {
    /// All of them, ours first; with the program of an earlier commit, if there is one.
    pub(crate) fn all(baseline: Option<PathBuf>) -> Vec<Self> {
        let baseline = baseline.map(Self::Baseline);
        let peers = [Peer::Go, Peer::TunedGo].map(Self::Peer);
        [Self::Ours].into_iter().chain(baseline).chain(peers).collect()
    }

    /// The word for it in the details of a run.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Baseline(_) => "baseline",
            Self::Peer(Peer::Go) => "go",
            Self::Peer(Peer::TunedGo) => "tuned_go",
        }
    }

    /// How it is started in a scope to manage the last `count` of a fleet, the first time and again.
    pub(crate) async fn options(
        &self,
        control_plane: &ControlPlane,
        scope: &Scope,
        fleet: &Fleet,
        count: usize,
    ) -> Result<manager::Options> {
        let options = match self {
            Self::Ours => server::options(control_plane, scope).await?,
            Self::Baseline(program) => {
                server::options(control_plane, scope).await?.with_program(program.clone())
            }
            Self::Peer(peer) => peer.options(control_plane, scope).await?,
        };
        // Otherwise the first start would take longer than the others.
        options.certificates()?;
        let settings = fleet.settings(fleet.size - count..fleet.size);
        fs::write(options.store(), serde_json::to_string(&settings)?)?;
        Ok(options)
    }

    /// Its column in the table.
    pub(crate) fn rival(&self) -> Option<Rival> {
        match self {
            Self::Ours => None,
            Self::Baseline(_) => Some(Rival::Baseline),
            Self::Peer(Peer::Go) => Some(Rival::Go),
            Self::Peer(Peer::TunedGo) => Some(Rival::TunedGo),
        }
    }
}

/// What was measured of each contestant, in their order.
#[derive(Clone, Debug)]
pub(crate) struct Scores<T>(Vec<(Contestant, T)>);

impl<T> Scores<T> {
    /// A score of each, ours first.
    pub(crate) fn of(contestants: &[Contestant], score: impl Fn() -> T) -> Self {
        Self(contestants.iter().map(|contestant| (contestant.clone(), score())).collect())
    }

    /// Those of each contestant in turn.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.0.iter_mut().map(|(_, score)| score)
    }

    /// That of the server.
    pub(crate) fn ours(&self) -> &T {
        &self.0[0].1
    }

    /// Those of the others.
    pub(crate) fn rivals(&self) -> impl Iterator<Item = (Rival, &T)> {
        self.0.iter().filter_map(|(contestant, score)| Some((contestant.rival()?, score)))
    }

    /// A row with a figure of each.
    pub(crate) fn row(
        &self,
        what: impl Into<Cow<'static, str>>,
        unit: Unit,
        figure: impl Fn(&T) -> f64,
    ) -> Row {
        let row = Row::new(what, unit, figure(self.ours()));
        self.rivals().fold(row, |row, (rival, score)| row.beside(rival, figure(score)))
    }

    /// All of it by name, for the details of a run.
    pub(crate) fn details<D: Serialize>(&self, details: impl Fn(&T) -> D) -> Value {
        self.0.iter().map(|(contestant, score)| (contestant.name(), json!(details(score)))).collect()
    }
}
