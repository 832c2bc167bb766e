//! kubectl and Helm themselves.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use replica_count_testbed::{ControlPlane, workspace};
use serde_json::json;
use tokio::task;

use super::way::{Answer, Way, manifest};

/// Stands for the count in the chart.
const COUNT: i32 = 424_242;

/// Programs that change counts, by way of one API server each.
#[derive(Clone, Debug)]
pub(super) struct Programs {
    kubectl: PathBuf,
    /// Manifests and the chart, and the home of the programs.
    folder: PathBuf,
    namespace: &'static str,
}

impl Programs {
    /// Builds kubectl if it is missing.
    pub(super) fn new(control_plane: &ControlPlane, namespace: &'static str) -> Result<Self> {
        let kubectl = task::block_in_place(|| control_plane.kubectl())?;
        Ok(Self { kubectl, folder: control_plane.folder("programs")?, namespace })
    }

    /// Changes a count with kubectl.
    pub(super) async fn kubectl(
        &self,
        kubeconfig: &Path,
        way: Way,
        name: &str,
        count: i32,
    ) -> Result<Answer> {
        let file = self.folder.join("deployment.json");
        fs::write(&file, manifest(name, Some(count))?.to_string())?;
        let file = file.display().to_string();
        let deployment = format!("deployment/{name}");
        let patch = match way {
            Way::JsonPatch => json!([{ "op": "replace", "path": "/spec/replicas", "value": count }]),
            _ => json!({ "spec": { "replicas": count } }),
        };
        let (replicas, patch) = (format!("--replicas={count}"), patch.to_string());
        let arguments: &[&str] = match way {
            Way::Scale => &["scale", &deployment, &replicas],
            Way::JsonPatch => &["patch", &deployment, "--type=json", "--patch", &patch],
            Way::MergePatch => &["patch", &deployment, "--type=merge", "--patch", &patch],
            Way::Apply => &["apply", "--filename", &file],
            Way::ServerSideApply => &["apply", "--server-side", "--force-conflicts", "--filename", &file],
            Way::Replace => &["replace", "--filename", &file],
            Way::Recreate => {
                self.run(&self.kubectl, kubeconfig, &["delete", &deployment]).await?;
                &["create", "--filename", &file]
            }
        };
        self.run(&self.kubectl, kubeconfig, arguments).await
    }

    /// Installs or upgrades a release of one Deployment, which has the name of the release.
    pub(super) async fn helm(
        &self,
        helm: &Path,
        kubeconfig: &Path,
        release: &str,
        count: i32,
    ) -> Result<Answer> {
        let chart = self.folder.join("chart");
        if !chart.exists() {
            write_chart(&chart)?;
        }
        let chart = chart.display().to_string();
        let replicas = format!("replicas={count}");
        self.run(helm, kubeconfig, &["upgrade", "--install", release, &chart, "--set", &replicas]).await
    }

    async fn run(&self, program: &Path, kubeconfig: &Path, arguments: &[&str]) -> Result<Answer> {
        let mut command = Command::new(program);
        command.args(arguments).args(["--namespace", self.namespace]);
        command.env("KUBECONFIG", kubeconfig).env("HOME", &self.folder);
        let output = task::spawn_blocking(move || command.output()).await?;
        let output = output.with_context(|| format!("cannot run {}", program.display()))?;
        if output.status.success() {
            return Ok(Answer::Accepted);
        }
        Ok(Answer::Refused(String::from_utf8_lossy(&output.stderr).into_owned()))
    }
}

fn write_chart(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder.join("templates"))?;
    fs::write(folder.join("Chart.yaml"), "apiVersion: v2\nname: web\nversion: 1.0.0\n")?;
    let labels = json!({ "app": "{{ .Release.Name }}" });
    let template = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": "{{ .Release.Name }}" },
        "spec": {
            "replicas": COUNT,
            "selector": { "matchLabels": labels },
            "template": {
                "metadata": { "labels": labels },
                "spec": { "containers": [{ "name": "web", "image": "registry.example.com/web:1" }] },
            },
        },
    });
    let template = template.to_string().replace(&COUNT.to_string(), "{{ .Values.replicas }}");
    Ok(fs::write(folder.join("templates/deployment.yaml"), template)?)
}

/// The path of `helm3` or `helm4`, which is built if it is missing: that takes minutes.
pub(super) async fn helm(name: &'static str) -> Result<PathBuf> {
    let mut command = Command::new(workspace::root()?.join("scripts/tool.sh"));
    command.arg(name);
    let output =
        task::spawn_blocking(move || command.output()).await?.context("cannot run scripts/tool.sh")?;
    if !output.status.success() {
        bail!("{name}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(PathBuf::from(String::from_utf8(output.stdout)?.trim()))
}
