//! Runs etcd, kube-apiserver and, on request, kube-controller-manager until dropped.

mod api_server;
mod authority;
mod controller_manager;
mod etcd;
mod guard;
mod kubeconfig;
pub(crate) mod objects;
mod options;
mod replica_counts;
mod rights;
mod tokens;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{fs, iter};

use anyhow::{Context as _, Result};
use api_server::ApiServer;
pub(crate) use authority::CertificateFiles;
use authority::{Authority, Identity, file_name};
use kube::Client;
use kube::api::{Api, DynamicObject};
use kubeconfig::{Credentials, Endpoint};
pub use options::Options;
pub use rights::Scope;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
pub use tokens::BoundToken;
use tokio_rustls::TlsAcceptor;

use crate::cluster::{Program, Programs};
use crate::component::Component;
use crate::scratch::Scratch;

/// The group that Kubernetes binds to `cluster-admin`.
const ADMINISTRATORS: &str = "system:masters";

/// A running control plane. It is stopped on drop.
///
/// A client belongs to the runtime that created it, so every call creates a new one. This lets tests with separate
/// runtimes share one control plane.
#[derive(Debug)]
pub struct ControlPlane {
    // Dropped from top to bottom: the folder goes last, when nothing writes to it any more.
    controller_manager: Option<Component>,
    api_server: ApiServer,
    second_api_server: Option<ApiServer>,
    etcd: Component,
    etcd_url: String,
    authority: Authority,
    admin_kubeconfig: PathBuf,
    kubeconfigs: PathBuf,
    programs: Programs,
    scratch: Scratch,
}

impl ControlPlane {
    /// Starts a control plane and waits until it is ready: about 5 seconds, or minutes if programs have to be built.
    pub async fn start(options: Options) -> Result<Self> {
        let (programs, paths) = options.find_programs().await?;
        let scratch = Scratch::new_in(&options.parent_folder)?;
        let authority = Authority::new(&subfolder(&scratch, "certificates")?)?;
        let kubeconfigs = subfolder(&scratch, "kubeconfigs")?;
        let (etcd, etcd_url) = etcd::start(&options, &paths.etcd, scratch.path()).await?;
        let admin = Credentials::Certificate(authority.issue(&Identity::person("admin", &[ADMINISTRATORS]))?);
        let setup = api_server::Setup {
            testbed: options.testbed.clone(),
            program: paths.api_server,
            folder: scratch.path().to_owned(),
            etcd_url: etcd_url.clone(),
            audit_log: options.audit_log.clone(),
            arguments: options.api_server_arguments.clone(),
            node_address: options.node_address,
        };
        let api_server = ApiServer::start(setup, &authority, &admin).await?;
        let admin_kubeconfig = kubeconfigs.join("admin.kubeconfig");
        kubeconfig::write(&admin_kubeconfig, api_server.endpoint(), &admin)?;
        let controller_manager = None;
        let mut this = Self {
            controller_manager,
            api_server,
            second_api_server: None,
            etcd,
            etcd_url,
            authority,
            admin_kubeconfig,
            kubeconfigs,
            programs,
            scratch,
        };
        if let Some(program) = paths.controller_manager {
            this.controller_manager = Some(this.start_controllers(&options, &program)?);
        }
        Ok(this)
    }

    fn start_controllers(&self, options: &Options, program: &Path) -> Result<Component> {
        let kubeconfig = self.kubeconfig_of(controller_manager::USER, &[])?;
        let files =
            controller_manager::Files { program, kubeconfig: &kubeconfig, authority: &self.authority };
        controller_manager::start(options, &files, self.scratch.path())
    }

    /// Stops everything. Unlike a drop, it reports errors.
    pub fn shutdown(mut self) -> Result<()> {
        if let Some(mut controller_manager) = self.controller_manager.take() {
            controller_manager.kill()?;
        }
        for api_server in iter::chain([&self.api_server], &self.second_api_server) {
            api_server.stop()?;
        }
        self.etcd.kill()
    }

    /// Starts a second API server on the same etcd, as clusters with several have; returns the kubeconfig of an
    /// administrator who uses it. Everybody else uses the first one, also after another call, which replaces the second.
    pub async fn start_second_api_server(&mut self) -> Result<PathBuf> {
        let admin =
            Credentials::Certificate(self.authority.issue(&Identity::person("admin", &[ADMINISTRATORS]))?);
        let folder = self.folder("second-api-server")?;
        let second = self.api_server.start_another(folder, &admin).await?;
        let kubeconfig = self.write_kubeconfig("admin-second", second.endpoint(), &admin)?;
        self.second_api_server = Some(second);
        Ok(kubeconfig)
    }

    /// The kubeconfig of an administrator, unrestricted by RBAC.
    pub fn admin_kubeconfig(&self) -> &Path {
        &self.admin_kubeconfig
    }

    /// A client with the rights of an administrator.
    pub async fn admin(&self) -> Result<Client> {
        kubeconfig::client(&self.admin_kubeconfig).await
    }

    /// The kubeconfig of an administrator named `user`.
    pub fn kubeconfig_as(&self, user: &str) -> Result<PathBuf> {
        self.kubeconfig_of(user, &[ADMINISTRATORS])
    }

    /// The kubeconfig of a user with the rights that RBAC grants to that name and those groups.
    pub(crate) fn kubeconfig_of(&self, user: &str, groups: &[&str]) -> Result<PathBuf> {
        let certificate = self.authority.issue(&Identity::person(user, groups))?;
        self.write_kubeconfig(user, self.api_server.endpoint(), &Credentials::Certificate(certificate))
    }

    /// A certificate of an administrator named `user` that expires after `lifetime`, and its key (PEM).
    pub fn expiring_certificate(&self, user: &str, lifetime: Duration) -> Result<(String, String)> {
        let identity = Identity::person(user, &[ADMINISTRATORS]).expiring(lifetime);
        let files = self.authority.issue(&identity)?;
        Ok((fs::read_to_string(files.certificate)?, fs::read_to_string(files.key)?))
    }

    /// A certificate for a server at this address.
    pub(crate) fn server_certificate(&self, name: &str, address: Ipv4Addr) -> Result<CertificateFiles> {
        self.authority.issue(&Identity::server(name, &[address], &[])?)
    }

    /// TLS for a server of the testbed on loopback, with a certificate that the API server and its clients trust.
    pub(crate) fn tls_acceptor(&self, name: &str) -> Result<TlsAcceptor> {
        let files = self.server_certificate(name, Ipv4Addr::LOCALHOST)?;
        let certificate = CertificateDer::from_pem_file(&files.certificate)?;
        let key = PrivateKeyDer::from_pem_file(&files.key)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)?;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// The certificate file of the authority that signed all the others.
    pub fn certificate_authority(&self) -> PathBuf {
        self.authority.certificate()
    }

    /// A client of an administrator named `user`.
    pub async fn client_as(&self, user: &str) -> Result<Client> {
        kubeconfig::client(&self.kubeconfig_as(user)?).await
    }

    /// The kubeconfig of a ServiceAccount with exactly the rights that the server needs in `scope`.
    ///
    /// Calling it again for the same scope creates a new token for the same ServiceAccount.
    pub async fn manager_kubeconfig(&self, scope: &Scope) -> Result<PathBuf> {
        self.manager_kubeconfig_at(self.url(), scope).await
    }

    /// The same, for a server that reaches the API server at another address, for example a proxy's.
    pub async fn manager_kubeconfig_at(&self, url: &str, scope: &Scope) -> Result<PathBuf> {
        let token = rights::grant(&self.admin().await?, scope).await?;
        let endpoint = Endpoint { url: url.to_owned(), ..self.api_server.endpoint().clone() };
        let port = url.rsplit(':').next().unwrap_or_default();
        let name = format!("manager-{}-{port}", scope.label());
        self.write_kubeconfig(&name, &endpoint, &Credentials::Token(token))
    }

    /// Creates a namespace whose name starts with `prefix`, and returns the name.
    pub async fn namespace(&self, prefix: &str) -> Result<String> {
        objects::create_namespace(&self.admin().await?, prefix).await
    }

    /// Creates a namespace with this name.
    pub async fn create_namespace(&self, name: &str) -> Result<()> {
        objects::create_named_namespace(&self.admin().await?, name).await
    }

    /// Creates a folder that is removed with the control plane, for programs started beside it.
    pub fn folder(&self, prefix: &str) -> Result<PathBuf> {
        subfolder(&self.scratch, &format!("{prefix}-{:08x}", fastrand::u32(..)))
    }

    /// Fails with the end of its log if one of the programs has died.
    pub fn check_alive(&mut self) -> Result<()> {
        self.etcd.check_alive()?;
        for api_server in iter::chain([&self.api_server], &self.second_api_server) {
            api_server.check_alive()?;
        }
        self.controller_manager.as_mut().map_or(Ok(()), Component::check_alive)
    }

    /// Creates a small Deployment. There is no node, so its pods stay pending.
    pub async fn deployment(&self, namespace: &str, name: &str, replicas: i32) -> Result<()> {
        objects::create_deployment(&self.admin().await?, namespace, name, replicas).await
    }

    /// Creates a small StatefulSet. There is no node, so its pods stay pending.
    pub async fn stateful_set(&self, namespace: &str, name: &str, replicas: i32) -> Result<()> {
        objects::create_stateful_set(&self.admin().await?, namespace, name, replicas).await
    }

    /// Installs the guard as the chart does, under this name. Without a ReplicaGuard of the same name, it does nothing in a
    /// namespace. Returns whether this API server can correct counts; older ones cannot.
    pub async fn install_guard(&self, name: &str) -> Result<bool> {
        guard::install(&self.admin().await?, name).await
    }

    /// Installs the definition of ReplicaCounts, and grants the server of the whole cluster the rights for `--store=crd`.
    pub async fn install_replica_counts(&self) -> Result<()> {
        let client = self.admin().await?;
        replica_counts::install(&client).await?;
        replica_counts::grant(&client).await
    }

    /// Creates a Lease that its last holder has given up, so that the first server need not wait, unless
    /// there is one, and grants the server of the whole cluster the rights on it.
    pub async fn create_released_lease(&self, namespace: &str, name: &str) -> Result<()> {
        let client = self.admin().await?;
        objects::create_released_lease(&client, namespace, name).await?;
        replica_counts::grant_lease(&client, namespace, name).await
    }

    /// Installs the policy `stamp` or `forbid` of the chart, which is about who has set a count, for the server of the whole
    /// cluster. Returns whether this API server knows such policies.
    pub async fn install_author_policy(&self, policy: &str, name: &str) -> Result<bool> {
        replica_counts::install_author_policy(&self.admin().await?, policy, name).await
    }

    /// The ReplicaCounts of a namespace.
    pub async fn replica_counts(&self, namespace: &str) -> Result<Api<DynamicObject>> {
        Ok(Api::namespaced_with(self.admin().await?, namespace, &replica_counts::kind()))
    }

    /// Kills the API server. etcd keeps its data. The testbed does not reuse its port.
    pub fn stop_api_server(&self) -> Result<()> {
        self.api_server.stop()
    }

    /// Starts the API server again, on the same port and the same data, and waits until it is ready.
    pub async fn start_api_server(&self) -> Result<()> {
        self.api_server.restart().await
    }

    /// Freezes the API server: connections stay open, but nothing answers.
    pub fn pause_api_server(&self) -> Result<()> {
        self.api_server.pause()
    }

    /// Resumes a frozen API server.
    pub fn resume_api_server(&self) -> Result<()> {
        self.api_server.resume()
    }

    /// The address of the API server, for example `https://127.0.0.1:26443`.
    pub fn url(&self) -> &str {
        &self.api_server.endpoint().url
    }

    /// The address of etcd, for example `http://127.0.0.1:22379`. It requires no credentials.
    pub fn etcd_url(&self) -> &str {
        &self.etcd_url
    }

    /// The path of kubectl. Builds it if missing.
    pub fn kubectl(&self) -> Result<PathBuf> {
        self.programs.ensure(Program::Kubectl)
    }

    /// The path of grpcurl. Builds it if missing.
    pub fn grpcurl(&self) -> Result<PathBuf> {
        self.programs.ensure(Program::Grpcurl)
    }

    /// The ids of the running processes.
    pub fn process_ids(&self) -> Vec<u32> {
        let controller_manager = self.controller_manager.as_ref().map(Component::id);
        let second = self.second_api_server.as_ref().and_then(ApiServer::id);
        [Some(self.etcd.id()), self.api_server.id(), second, controller_manager]
            .into_iter()
            .flatten()
            .collect()
    }

    /// A client without credentials of its own: requests must carry theirs.
    pub(crate) fn anonymous(&self) -> Result<Client> {
        kubeconfig::anonymous_client(self.api_server.endpoint())
    }

    fn write_kubeconfig(
        &self,
        name: &str,
        endpoint: &Endpoint,
        credentials: &Credentials,
    ) -> Result<PathBuf> {
        let path = self.kubeconfigs.join(file_name(name)).with_extension("kubeconfig");
        kubeconfig::write(&path, endpoint, credentials)?;
        Ok(path)
    }
}

fn subfolder(scratch: &Scratch, name: &str) -> Result<PathBuf> {
    let path = scratch.path().join(name);
    fs::create_dir(&path).with_context(|| format!("cannot create {}", path.display()))?;
    Ok(path)
}
