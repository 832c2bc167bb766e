//! Runs Helm as users do.

use std::path::Path;

use anyhow::Result;
use clap::ValueEnum;
use serde::Serialize;

use crate::fixture::{Fixture, NAME};
use crate::image::Image;

/// The supported versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Version {
    Helm3,
    Helm4,
}

impl Version {
    /// Its name in `scripts/tool.sh`.
    pub(crate) fn tool(self) -> &'static str {
        match self {
            Self::Helm3 => "helm3",
            Self::Helm4 => "helm4",
        }
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Helm3 => "Helm 3",
            Self::Helm4 => "Helm 4",
        }
    }
}

impl Fixture {
    /// Installs or upgrades our chart from a repository with the documented command, and waits for the pod. Returns the
    /// notes.
    pub(crate) async fn install(&self, image: &Image, more: &[&str]) -> Result<String> {
        let mut words = vec!["helm", "upgrade", "--install", NAME, NAME];
        words.extend(["--repo", self.repository.url(), "--namespace", NAME, "--create-namespace", "--wait"]);
        words.extend(["--timeout", "2m"]);
        // The steps cause drifts, which a guard would prevent.
        words.extend(["--set-string", "guard.mode=off"]);
        if let Some(values) = self.values.as_deref().and_then(Path::to_str) {
            words.extend(["--values", values]);
        }
        let images = image.values();
        words.extend(images.iter().flat_map(|value| ["--set-string", value]));
        words.extend(more);
        self.programs.run(words).await
    }

    /// Uninstalls our chart.
    pub(crate) async fn uninstall(&self) -> Result<()> {
        self.programs.run(["helm", "uninstall", NAME, "--namespace", NAME, "--wait"]).await.map(drop)
    }
}
