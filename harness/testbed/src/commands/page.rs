//! `testbed page`: everything that the tests of the page need, driven through standard input and output.

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use anyhow::{Context as _, Result, bail};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, RoleBinding};
use kube::Client;
use kube::api::{Api, PostParams};
use replica_count_testbed::control_plane::Scope;
use replica_count_testbed::{ControlPlane, Manager, Options, Page, manager, page};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::{task, time};

use crate::arguments::Page as Arguments;
use crate::output::say;

/// May do everything.
const USER: &str = "client";
/// May do everything in the namespace [`OWN`].
const RESTRICTED: &str = "alice";
const OWN: &str = "shop";
const ROLE: &str = "replica-counts-of-page";
/// How often to check that everything still runs.
const CHECK: Duration = Duration::from_millis(500);

pub(crate) async fn run(testbed: PathBuf, arguments: Arguments) -> Result<()> {
    let control_plane = ControlPlane::start(Options::new(testbed.clone())).await?;
    control_plane.create_namespace(OWN).await?;
    grant(control_plane.admin().await?).await?;
    let kubectl = task::block_in_place(|| control_plane.kubectl())?;
    let kubeconfig = control_plane.manager_kubeconfig(&Scope::Cluster).await?;
    let folder = control_plane.folder("page")?;
    let options = manager::Options::new(testbed.clone(), &kubeconfig, &folder)?
        .argument("--authorization-mode")
        .argument("rbac");
    copy(arguments.settings.as_deref(), &options.store())?;
    copy(arguments.history.as_deref(), &options.store().with_added_extension("history"))?;
    let mut manager = start(&options).await?;
    let address = manager.grpc_address();
    // A server that is started again is found where it was.
    let options = options.argument("--grpc-address").argument(address.to_string());

    manager.certificates().issue(RESTRICTED, &[])?;
    let certificates = manager.certificates().clone();
    let admin = control_plane.admin_kubeconfig();
    let start_page = async |user: &'static str| {
        let (testbed, certificates) = (testbed.as_path(), &certificates);
        let setup = page::Setup { testbed, server: address, certificates, user, kubeconfig: admin };
        Page::start(setup, folder.join(format!("page-{user}.log")), &[]).await
    };
    let mut pages = [start_page(USER).await?, start_page(RESTRICTED).await?];
    say(&json!({
        "url": pages[0].url(),
        "restricted": pages[1].url(),
        "kubectl": kubectl,
        "kubeconfig": admin,
        "namespace": OWN,
    })
    .to_string());

    let mut lines = lines();
    loop {
        let line = tokio::select! {
            line = lines.recv() => line,
            () = time::sleep(CHECK) => {
                manager.check_alive()?;
                pages.iter_mut().try_for_each(Page::check_alive)?;
                continue;
            }
        };
        match line.as_deref() {
            Some("restart") => {
                manager.terminate().await?;
                manager = start(&options).await?;
                say(&json!({ "restarted": true }).to_string());
            }
            Some(other) => bail!("{other:?} is not a command: there is only restart"),
            None => return Ok(()),
        }
    }
}

async fn start(options: &manager::Options) -> Result<Manager> {
    let mut manager = Manager::start(options).await?;
    manager.wait_ready().await?;
    Ok(manager)
}

fn copy(from: Option<&Path>, to: &Path) -> Result<()> {
    let Some(from) = from else { return Ok(()) };
    fs::copy(from, to).with_context(|| format!("cannot copy {}", from.display()))?;
    Ok(())
}

/// The lines of standard input, which a thread reads. There is none after its end.
fn lines() -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in io::stdin().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Lets one user do everything, and the other one everything in one namespace.
async fn grant(client: Client) -> Result<()> {
    let role = json!({
        "metadata": { "name": ROLE },
        "rules": [{ "apiGroups": ["replicacount.dev"], "resources": ["replicacounts"], "verbs": ["*"] }],
    });
    create::<ClusterRole>(&Api::all(client.clone()), role).await?;
    create::<ClusterRoleBinding>(&Api::all(client.clone()), binding(USER)).await?;
    create::<RoleBinding>(&Api::namespaced(client, OWN), binding(RESTRICTED)).await
}

fn binding(user: &str) -> Value {
    json!({
        "metadata": { "name": ROLE },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": ROLE },
        "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user }],
    })
}

async fn create<K>(api: &Api<K>, object: Value) -> Result<()>
where
    K: Clone + std::fmt::Debug + serde::Serialize + DeserializeOwned,
{
    let object: K = serde_json::from_value(object)?;
    api.create(&PostParams::default(), &object).await?;
    Ok(())
}
