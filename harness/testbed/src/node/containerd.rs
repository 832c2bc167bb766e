//! The container runtime of a node, with its preloaded images. Nothing is ever pulled.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::Value;
use tokio::net::UnixStream;
use tokio::time::{self, Instant};

use super::{Site, images, network, requirements};
use crate::component::Component;

/// The default of containerd and its clients. The node has its own /run.
pub(super) const SOCKET: &str = "/run/containerd/containerd.sock";

/// Where kubelet looks for images.
pub(super) const NAMESPACE: &str = "k8s.io";

const READY_DEADLINE: Duration = Duration::from_mins(1);
const POLL: Duration = Duration::from_millis(20);

/// Starts containerd and loads the images.
pub(super) async fn start(site: &Site) -> Result<Component> {
    let network = site.subfolder("network")?;
    fs::write(network.join("pods.conflist"), network::of_pods(site)?.to_string())?;
    let configuration =
        configuration(&site.subfolder("containerd")?, &network, requirements::plugin_folder()?);
    let configuration = site.write("containerd.toml", &configuration)?;
    let mut containerd = site.start_at(Path::new("containerd"), "containerd", |command| {
        command.arg("--config").arg(configuration);
    })?;
    until_ready(&mut containerd).await?;
    images::load(site)?;
    Ok(containerd)
}

async fn until_ready(containerd: &mut Component) -> Result<()> {
    let deadline = Instant::now() + READY_DEADLINE;
    while UnixStream::connect(SOCKET).await.is_err() {
        containerd.check_alive()?;
        if Instant::now() >= deadline {
            bail!("containerd was not ready within {READY_DEADLINE:?}:\n{}", containerd.tail());
        }
        time::sleep(POLL).await;
    }
    Ok(())
}

/// Disables AppArmor, whose profiles belong to the host, and the adjustment of OOM scores, which is not allowed
/// everywhere.
fn configuration(root: &Path, network: &Path, plugins: &str) -> String {
    let text = |path: &Path| Value::from(path.display().to_string());
    format!(
        r#"version = 2
root = {root}
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  disable_apparmor = true
  restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "{plugins}"
  conf_dir = {network}
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
  SystemdCgroup = false
"#,
        root = text(root),
        network = text(network),
        pause = images::PAUSE,
    )
}
