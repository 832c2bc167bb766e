//! The Service of the server in the cluster.

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::ListParams;
use kube::{Api, Client};
use replica_count_client::Address;

use super::context::{Context, chain};
use super::service_name::ServiceName;
use crate::failure::Failure;

/// The label that the chart gives its Service.
const LABEL: &str = "app.kubernetes.io/name=replica-count-manager";
/// The namespace of the chart's documentation.
const USUAL_NAMESPACE: &str = "replica-count-manager";
/// The name of the chart's port.
const PORT: &str = "grpc";

/// A Service, and which pods are behind it.
#[derive(Clone, Debug)]
pub struct ServerService {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The labels of its pods.
    pub selector: String,
    /// The port of its pods, by number or by name.
    pub target_port: IntOrString,
}

impl ServerService {
    pub(super) async fn get(context: &Context, name: &ServiceName) -> Result<Self, Failure> {
        let services = Api::<Service>::namespaced(context.client().await?, &name.namespace);
        let ServiceName { namespace, name } = name;
        match services.get_opt(name).await {
            Ok(Some(service)) => Self::of(&service).ok_or_else(|| {
                Failure::new(format!("the Service {namespace}/{name} selects no pods, or has no port"))
            }),
            Ok(None) => Err(Failure::new(format!("there is no Service {namespace}/{name}"))
                .advise(format!("`kubectl get services -n {namespace}` lists those that exist."))),
            Err(error) => Err(unreadable(context, &error)),
        }
    }

    /// Finds the one that the chart labels.
    pub(super) async fn find(context: &Context) -> Result<Self, Failure> {
        let client = context.client().await?;
        let found = match list(Api::all(client.clone())).await {
            Err(kube::Error::Api(status)) if status.code == 403 => {
                Self::find_in_namespaces(context, &client).await?
            }
            listed => listed.map_err(|error| unreadable(context, &error))?,
        };
        // The chart's Service for metrics has the same label.
        let mut found: Vec<_> =
            found.iter().filter(|service| has_grpc(service)).filter_map(Self::of).collect();
        match (found.pop(), found.last()) {
            (None, _) => Err(not_found(context)),
            (Some(only), None) => Ok(only),
            (Some(one), Some(other)) => Err(Failure::new(format!(
                "there is more than one server in the cluster of the context {}: {one} and {other}",
                context.name()
            ))
            .advise(format!("Choose one with --service, for example --service {one}."))),
        }
    }

    /// For those who may not list the Services of the whole cluster.
    async fn find_in_namespaces(context: &Context, client: &Client) -> Result<Vec<Service>, Failure> {
        let mut namespaces = vec![context.namespace(), USUAL_NAMESPACE];
        namespaces.dedup();
        let mut found = Vec::new();
        for namespace in namespaces {
            match list(Api::namespaced(client.clone(), namespace)).await {
                Ok(listed) => found.extend(listed),
                Err(kube::Error::Api(status)) if status.code == 403 => {}
                Err(error) => return Err(unreadable(context, &error)),
            }
        }
        Ok(found)
    }

    fn of(service: &Service) -> Option<Self> {
        let spec = service.spec.as_ref()?;
        let selector = spec.selector.as_ref().filter(|selector| !selector.is_empty())?;
        let ports = spec.ports.as_deref().unwrap_or_default();
        let port = ports.iter().find(|port| port.name.as_deref() == Some(PORT)).or(ports.first())?;
        let selector: Vec<_> = selector.iter().map(|(label, value)| format!("{label}={value}")).collect();
        Some(Self {
            namespace: service.metadata.namespace.clone()?,
            name: service.metadata.name.clone()?,
            selector: selector.join(","),
            target_port: port.target_port.clone().unwrap_or(IntOrString::Int(port.port)),
        })
    }

    /// A name that the chart puts into the certificate of the server.
    pub(super) fn host(&self) -> String {
        format!("{}.{}.svc", self.name, self.namespace)
    }

    /// An address that is never resolved.
    pub(super) fn address(&self) -> Address {
        format!("{}:8080", self.host()).parse().expect("names of Services are names of hosts")
    }
}

fn has_grpc(service: &Service) -> bool {
    let ports = service.spec.as_ref().and_then(|spec| spec.ports.as_deref()).unwrap_or_default();
    ports.iter().any(|port| port.name.as_deref() == Some(PORT))
}

impl std::fmt::Display for ServerService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

async fn list(services: Api<Service>) -> kube::Result<Vec<Service>> {
    Ok(services.list(&ListParams::default().labels(LABEL)).await?.items)
}

fn not_found(context: &Context) -> Failure {
    Failure::new(format!("no server is found in the cluster of the context {}", context.name())).advise(
        "Name its Service with --service NAMESPACE/NAME, or its address with --server HOST:PORT. \
         `kubectl replicas login` remembers either for this context.",
    )
}

fn unreadable(context: &Context, error: &kube::Error) -> Failure {
    let failure = Failure::new(format!(
        "the server cannot be looked for in the cluster of the context {}: {}",
        context.name(),
        chain(error)
    ));
    failure.advise("Name its address with --server HOST:PORT, if you know it.")
}
