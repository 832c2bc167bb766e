//! The API server of a control plane, which can be stopped, restarted and frozen.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{fs, iter};

use anyhow::{Context as _, Result, anyhow, bail};
use kube::Client;
use rustix::process::Signal;
use tokio::time::{self, Instant};

use super::ADMINISTRATORS;
use super::authority::{Authority, CertificateFiles, Identity};
use super::kubeconfig::{self, Credentials, Endpoint};
use crate::component::Component;
use crate::{parent_death, ports};

/// A busy two-core machine takes 20 seconds; a quiet one 4.
const READY_DEADLINE: Duration = Duration::from_mins(2);
const POLL: Duration = Duration::from_millis(50);

/// How many ports to try.
const ATTEMPTS: usize = 5;

/// Its port on a node: NetworkPolicies expect 6443, and the node's own network keeps it free.
const NODE_PORT: u16 = 6443;

/// Its addresses: for this machine, and for pods, which use the first address of the Service range.
const ADDRESSES: [Ipv4Addr; 2] = [Ipv4Addr::LOCALHOST, Ipv4Addr::new(10, 0, 0, 1)];
const NAMES: [&str; 5] = [
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
];

/// Everything the server needs, except its port.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    pub(super) testbed: PathBuf,
    pub(super) program: PathBuf,
    /// The folder of its log and files.
    pub(super) folder: PathBuf,
    pub(super) etcd_url: String,
    pub(super) audit_log: Option<PathBuf>,
    pub(super) arguments: Vec<String>,
    /// Its address for a node and its pods.
    pub(super) node_address: Option<Ipv4Addr>,
}

/// The files of its keys and policies.
#[derive(Clone, Debug)]
struct Files {
    certificate: CertificateFiles,
    /// Its client certificate for kubelets.
    kubelet_client: CertificateFiles,
    token_key: CertificateFiles,
    certificate_authority: PathBuf,
    audit_policy: PathBuf,
}

/// The API server, running or not.
#[derive(Debug)]
pub(super) struct ApiServer {
    setup: Setup,
    files: Files,
    port: u16,
    endpoint: Endpoint,
    /// The kubeconfig of readiness probes.
    probe: PathBuf,
    /// `None` while it is stopped.
    running: Mutex<Option<Component>>,
}

impl ApiServer {
    /// Starts it on a free port and waits until it is ready.
    pub(super) async fn start(setup: Setup, authority: &Authority, admin: &Credentials) -> Result<Self> {
        let addresses: Vec<_> = iter::chain(ADDRESSES, setup.node_address).collect();
        let files = Files {
            certificate: authority.issue(&Identity::server("kube-apiserver", &addresses, &NAMES)?)?,
            kubelet_client: authority.issue(&Identity::person("kube-apiserver", &[ADMINISTRATORS]))?,
            token_key: authority.token_key()?,
            certificate_authority: authority.certificate(),
            audit_policy: setup.folder.join("audit-policy.json"),
        };
        let policy = r#"{"apiVersion":"audit.k8s.io/v1","kind":"Policy","rules":[{"level":"Metadata"}]}"#;
        fs::write(&files.audit_policy, policy).context("cannot write the audit policy")?;
        Self::on_free_port(setup, files, admin).await
    }

    /// Starts another one on the same data, with the same keys, and waits until it is ready. It keeps its files in
    /// `folder`, and writes no audit log.
    pub(super) async fn start_another(&self, folder: PathBuf, admin: &Credentials) -> Result<Self> {
        let setup = Setup { folder, audit_log: None, ..self.setup.clone() };
        Self::on_free_port(setup, self.files.clone(), admin).await
    }

    async fn on_free_port(setup: Setup, files: Files, admin: &Credentials) -> Result<Self> {
        let certificate_authority = files.certificate_authority.clone();
        let endpoint = Endpoint { url: String::new(), certificate_authority };
        let probe = setup.folder.join("probe.kubeconfig");
        let mut this = Self { setup, files, port: 0, endpoint, probe, running: Mutex::new(None) };
        for _ in 0..ATTEMPTS {
            this.port = if this.setup.node_address.is_some() { NODE_PORT } else { ports::free()? };
            this.endpoint.url = format!("https://127.0.0.1:{}", this.port);
            kubeconfig::write(&this.probe, &this.endpoint, admin)?;
            match this.restart().await {
                Ok(()) => return Ok(this),
                Err(error) if ports::was_taken(&format!("{error:#}")) => {}
                Err(error) => return Err(error),
            }
        }
        bail!("kube-apiserver found no free port in {ATTEMPTS} attempts")
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub(super) fn id(&self) -> Option<u32> {
        self.running().as_ref().map(Component::id)
    }

    /// Kills it immediately, like a crash.
    pub(super) fn stop(&self) -> Result<()> {
        match self.running().take() {
            Some(mut component) => component.kill(),
            None => Ok(()),
        }
    }

    /// Starts it with the same port and data, and waits until it is ready.
    pub(super) async fn restart(&self) -> Result<()> {
        self.stop()?;
        let mut component = self.launch()?;
        self.wait_until_ready(&mut component).await?;
        *self.running() = Some(component);
        Ok(())
    }

    /// Fails if it has died, but not if it was stopped.
    pub(super) fn check_alive(&self) -> Result<()> {
        self.running().as_mut().map_or(Ok(()), Component::check_alive)
    }

    pub(super) fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    pub(super) fn resume(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        self.running().as_ref().context("kube-apiserver is stopped")?.signal(signal)
    }

    fn running(&self) -> MutexGuard<'_, Option<Component>> {
        // A panic cannot leave the value inconsistent: it is only replaced as a whole.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn launch(&self) -> Result<Component> {
        let mut command = parent_death::command(&self.setup.testbed, &self.setup.program);
        command
            .args(["--etcd-servers", &self.setup.etcd_url])
            .args(["--secure-port", &self.port.to_string()])
            .arg("--cert-dir")
            .arg(self.setup.folder.join("certificates"))
            .arg("--tls-cert-file")
            .arg(&self.files.certificate.certificate)
            .arg("--tls-private-key-file")
            .arg(&self.files.certificate.key)
            .arg("--client-ca-file")
            .arg(&self.files.certificate_authority)
            .args(["--service-account-issuer", "https://kubernetes.default.svc"])
            .arg("--service-account-key-file")
            .arg(&self.files.token_key.certificate)
            .arg("--service-account-signing-key-file")
            .arg(&self.files.token_key.key)
            .args(["--service-cluster-ip-range", "10.0.0.0/24"]);
        match self.setup.node_address {
            // Without a node it needs no Service address of its own.
            None => command.args(["--bind-address", "127.0.0.1", "--advertise-address", "127.0.0.1"]).args([
                "--authorization-mode",
                "RBAC",
                "--endpoint-reconciler-type",
                "none",
            ]),
            Some(address) => self.serve_node(&mut command, address),
        };
        command.args(&self.setup.arguments);
        if let Some(path) = &self.setup.audit_log {
            command
                .arg("--audit-log-path")
                .arg(path)
                .arg("--audit-policy-file")
                .arg(&self.files.audit_policy);
        }
        let log = self.setup.folder.join(format!("kube-apiserver-{}.log", self.port));
        Component::start("kube-apiserver", command, log)
    }

    /// Admits nodes, limits them to the rights of a node, and lets the API server query kubelets, for example for logs.
    fn serve_node<'a>(&self, command: &'a mut Command, address: Ipv4Addr) -> &'a mut Command {
        command
            .args(["--bind-address", "0.0.0.0", "--advertise-address", &address.to_string()])
            .args(["--authorization-mode", "Node,RBAC", "--enable-admission-plugins", "NodeRestriction"])
            .args(["--kubelet-preferred-address-types", "InternalIP"])
            .arg("--kubelet-certificate-authority")
            .arg(&self.files.certificate_authority)
            .arg("--kubelet-client-certificate")
            .arg(&self.files.kubelet_client.certificate)
            .arg("--kubelet-client-key")
            .arg(&self.files.kubelet_client.key)
    }

    async fn wait_until_ready(&self, component: &mut Component) -> Result<()> {
        let client = kubeconfig::client(&self.probe).await?;
        let deadline = Instant::now() + READY_DEADLINE;
        while let Err(error) = probe(&client).await {
            component.check_alive()?;
            if Instant::now() >= deadline {
                let tail = component.tail();
                bail!("kube-apiserver was not ready within {READY_DEADLINE:?} ({error:#}):\n{tail}");
            }
            time::sleep(POLL).await;
        }
        Ok(())
    }
}

/// Checks readiness, with its own timeout, so a server that hangs is probed again.
async fn probe(client: &Client) -> Result<()> {
    let request = http::Request::get("/readyz").body(Vec::new())?;
    match time::timeout(Duration::from_secs(5), client.request_text(request)).await {
        Ok(answer) => Ok(answer.map(drop)?),
        Err(_) => Err(anyhow!("no answer from /readyz")),
    }
}
