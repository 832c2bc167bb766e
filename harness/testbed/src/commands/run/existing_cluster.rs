//! Runs the server on an existing cluster, and first prints what it will do there.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use kube::config::{Kubeconfig, NamedCluster, NamedContext};
use replica_count_testbed::{Manager, digest, workspace};

use super::grpcurl_line;
use crate::output::say;

pub(super) async fn run(testbed: PathBuf, path: &Path, context: Option<&str>) -> Result<()> {
    let kubeconfig =
        Kubeconfig::read_from(path).with_context(|| format!("cannot read {}", path.display()))?;
    let target = Target::find(&kubeconfig, context).with_context(|| format!("in {}", path.display()))?;
    let folder = target.folder();
    let store = workspace::root()?.join("dev").join(&folder).join("replicas.json");
    say(&format!(
        "Cluster:  {cluster} at {server}
Context:  {context}, as user {user}
The server runs on this machine with the rights of that user. It watches the Deployments of the cluster and restores the
counts of those that have a desired count in {store}{state}.
It creates nothing in the cluster and writes to no other Deployment.
",
        cluster = target.cluster,
        server = target.server,
        context = target.context,
        user = target.user,
        store = store.display(),
        state = if store.exists() { "" } else { ", which does not exist yet" },
    ));
    let options = super::options(testbed, path, &folder)?.argument("--context").argument(&target.context);
    let mut manager = Manager::start(&options).await?;
    manager.wait_ready().await?;
    say(&format!(
        "\nTo try it, at the root of the project:\n\n{}\n\nCtrl-C stops the server.\n",
        grpcurl_line("")
    ));
    super::watch_over(&mut manager).await
}

/// The cluster that a kubeconfig points to.
#[derive(Debug, PartialEq, Eq)]
struct Target {
    context: String,
    cluster: String,
    server: String,
    user: String,
}

impl Target {
    fn find(kubeconfig: &Kubeconfig, context: Option<&str>) -> Result<Self> {
        let known =
            || kubeconfig.contexts.iter().map(|context| context.name.as_str()).collect::<Vec<_>>().join(", ");
        let Some(name) = context.or(kubeconfig.current_context.as_deref()) else {
            bail!("there is no current context; choose one with --context: {}", known());
        };
        let found = kubeconfig.contexts.iter().find(|context| context.name == name);
        let Some(NamedContext { context: Some(context), .. }) = found else {
            bail!("there is no context {name}, only: {}", known());
        };
        let cluster = kubeconfig.clusters.iter().find(|cluster| cluster.name == context.cluster);
        let Some(NamedCluster { cluster: Some(cluster), .. }) = cluster else {
            bail!("there is no cluster {}, which context {name} names", context.cluster);
        };
        Ok(Self {
            context: name.to_owned(),
            cluster: context.cluster.clone(),
            server: cluster.server.clone().context("the cluster has no server")?,
            user: context.user.clone().unwrap_or_else(|| "(none)".to_owned()),
        })
    }

    /// The name of the folder for its store. It contains the address, because many clusters are called "default", and
    /// the counts of one must not be enforced on another. The readable part is not unique, so a digest follows.
    fn folder(&self) -> String {
        let address = self.server.trim_start_matches("https://").trim_end_matches('/');
        let readable =
            format!("{}-{address}", self.context).replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        format!("{readable}-{}", digest::short(&format!("{} {}", self.context, self.server)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = r#"{
        "current-context": "blue",
        "clusters": [{ "name": "b", "cluster": { "server": "https://b" } },
                     { "name": "g", "cluster": { "server": "https://g" } }],
        "contexts": [{ "name": "blue", "context": { "cluster": "b", "user": "ann" } },
                     { "name": "green", "context": { "cluster": "g", "user": "ben" } },
                     { "name": "broken", "context": { "cluster": "x", "user": "ben" } }]
    }"#;

    #[test]
    fn the_context_selects_the_cluster() {
        let kubeconfig: Kubeconfig = serde_json::from_str(TWO).unwrap();
        let server = |context| Target::find(&kubeconfig, context).map(|target| target.server);
        assert_eq!(server(None).unwrap(), "https://b");
        assert_eq!(server(Some("green")).unwrap(), "https://g");
        let error = |context| server(Some(context)).unwrap_err().to_string();
        assert_eq!(error("red"), "there is no context red, only: blue, green, broken");
        assert_eq!(error("broken"), "there is no cluster x, which context broken names");
    }

    #[test]
    fn no_two_clusters_share_a_folder() {
        let folder = |context: &str, server: &str| {
            let [context, server] = [context, server].map(str::to_owned);
            Target { context, server, cluster: "c".to_owned(), user: "ann".to_owned() }.folder()
        };
        let folders = [("a", "https://b-c"), ("a", "https://b.c"), ("a-b", "https://c"), ("a", "http://b-c")]
            .map(|(context, server)| folder(context, server));
        let different: std::collections::BTreeSet<_> = folders.iter().collect();
        assert_eq!(different.len(), folders.len(), "{folders:?}");
        assert!(folders[0].starts_with("a-b-c-"), "{}", folders[0]);
        assert_eq!(folder("a", "https://b-c"), folders[0], "and it stays");
    }
}
