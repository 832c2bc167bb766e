//! What is kept of a run: a JSON file with the table, the samples behind it and the machine, and beside it a picture.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use replica_count_testbed::workspace;
use serde::Serialize;
use serde_json::Value;

use crate::machine::{Load, Machine, Version};
use crate::plot;
use crate::table::Row;

/// What a benchmark measured.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Outcome {
    pub(crate) name: &'static str,
    pub(crate) rows: Vec<Row>,
    /// The version of the API server.
    pub(crate) kubernetes: String,
    /// What the rows were computed from.
    pub(crate) details: Value,
}

/// A run.
#[derive(Debug, Serialize)]
pub(crate) struct Results {
    pub(crate) started: Timestamp,
    /// Whether it was too short to measure anything.
    pub(crate) short: bool,
    pub(crate) machine: Machine,
    pub(crate) version: Version,
    /// The commit of the baseline, if there is one.
    pub(crate) baseline: Option<String>,
    pub(crate) load_before: Load,
    pub(crate) load_after: Load,
    pub(crate) benchmarks: Vec<Outcome>,
}

impl Results {
    /// Writes them to a new file, and returns its path.
    pub(crate) fn write(&self) -> Result<PathBuf> {
        let folder = workspace::root()?.join("harness/bench/results");
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let path = folder.join(self.started.strftime("%Y-%m-%dT%H-%M-%SZ.json").to_string());
        let json = serde_json::to_string_pretty(self)?;
        fs::write(&path, json + "\n").with_context(|| format!("cannot write {}", path.display()))?;
        if let Some(picture) = plot::render(&self.describe(), &self.rows()) {
            fs::write(path.with_extension("svg"), picture).context("cannot write the picture")?;
        }
        Ok(path)
    }

    /// The rows of all benchmarks.
    pub(crate) fn rows(&self) -> Vec<Row> {
        self.benchmarks.iter().flat_map(|outcome| outcome.rows.clone()).collect()
    }

    /// When and of what it was, in a line.
    fn describe(&self) -> String {
        let short = if self.short { "A short run, which says nothing, " } else { "" };
        let baseline = self.baseline.iter().map(|commit| format!(", baseline {commit:.12}"));
        let baseline: String = baseline.collect();
        format!("{short}{}, {}{baseline}", self.started.strftime("%Y-%m-%d"), self.version)
    }
}
