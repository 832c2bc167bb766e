//! Requests that fail, are repeated or are not answered: each change is stored once, or the client is told.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use replica_count_api::proto;
use replica_count_testbed::control_plane::Scope;
use replica_count_testbed::fault_proxy::{Encodings, Fault, Kind, Plan, StreamFault};
use replica_count_testbed::{FaultProxy, Manager, manager};
use tokio::time::Instant;

use super::{in_namespace, with_crd};
use crate::fixture::{Fixture, shared, testbed};

/// The faults of the next writes of settings, and of statuses.
#[derive(Clone, Default)]
struct Faults {
    settings: Arc<Mutex<VecDeque<Fault>>>,
    statuses: Arc<Mutex<VecDeque<Fault>>>,
}

impl Faults {
    fn plan(&self) -> Plan {
        let this = self.clone();
        Box::new(move |_, kind, path| {
            let is_write = matches!(kind, Kind::Patch | Kind::Other) && path.contains("/replicacounts");
            // Reads of the API are of the other kinds, too.
            let is_write = is_write && path.contains("/namespaces/");
            let faults = if path.ends_with("/status") { &this.statuses } else { &this.settings };
            if is_write { faults.lock().unwrap().pop_front() } else { None }
        })
    }

    fn next(&self, fault: Fault, times: usize) {
        self.settings.lock().unwrap().extend(vec![fault; times]);
    }
}

async fn with_faults(faults: &Faults) -> (Fixture<'static>, FaultProxy) {
    let control_plane = shared().await;
    control_plane.install_replica_counts().await.unwrap();
    let observer = Box::new(|_| {});
    let proxy = FaultProxy::start(control_plane, Encodings::AsAsked, faults.plan(), observer).await.unwrap();
    let kubeconfig = proxy.manager_kubeconfig(control_plane, &Scope::Cluster).await.unwrap();
    let folder = control_plane.folder("faults").unwrap();
    let options = manager::Options::new(testbed(), &kubeconfig, &folder).unwrap();
    let namespace = control_plane.namespace("faults").await.unwrap();
    let options = in_namespace(control_plane, options, &namespace).await;
    (Fixture::start(control_plane, namespace, options).await, proxy)
}

const fn refuse(status: u16, retry_after_seconds: Option<u64>) -> Fault {
    Fault::Refuse { status, retry_after_seconds }
}

#[tokio::test]
async fn a_change_without_an_answer_is_stored_once() {
    let faults = Faults::default();
    let (mut fixture, _proxy) = with_faults(&faults).await;
    for (round, (fault, times)) in [
        (Fault::LoseAnswer, 1),
        (Fault::LoseAnswer, 3),
        (Fault::CutAnswer, 1),
        (Fault::Cut, 1),
        (Fault::Cut, 3),
        (Fault::FreezeAnswer, 1),
        (Fault::Freeze, 1),
        (refuse(429, Some(1)), 2),
        (refuse(503, None), 2),
        (refuse(500, None), 1),
        (refuse(409, None), 1),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("web-{round}");
        fixture.create(&name, 1).await;
        let started = Instant::now();
        faults.next(fault, times);
        let created = fixture.set(&name, 2).await;
        faults.next(fault, times);
        let changed = fixture.set(&name, 3).await;
        assert_eq!((created.generation, changed.generation), (1, 2), "{fault:?}");
        faults.next(fault, times);
        fixture.ignore(&name, None).await;
        let object = fixture.object(&name).await.unwrap();
        assert_eq!(object.metadata.generation, Some(3), "{fault:?}");
        faults.next(fault, times);
        fixture.delete_setting(&name).await;
        assert!(fixture.object(&name).await.is_none(), "{fault:?}");
        println!("{times} x {fault:?} for each of 4 changes: {:?}", started.elapsed());
    }
    let log = fixture.manager.log();
    let by = |words: &str| log.iter().filter(|line| line.contains(words)).cloned().collect::<Vec<_>>();
    for words in ["\"set\"", "\"enforcement set\"", "\"deleted\""] {
        let lines = by(&format!("\"message\":{words}"));
        assert!(!lines.is_empty());
        assert!(lines.iter().all(|line| line.contains(r#""by":"client""#)), "{lines:?}");
    }
}

#[tokio::test]
async fn a_server_whose_watch_lags_asks_before_it_refuses() {
    let mut fixture = with_crd(&[]).await;
    let lag = Fault::Stream(StreamFault::Lag { ms: 3000 });
    let plan: Plan =
        Box::new(move |_, kind, path| (kind == Kind::Watch && path.contains("replicacounts")).then_some(lag));
    let control_plane = fixture.control_plane;
    let proxy = FaultProxy::start(control_plane, Encodings::AsAsked, plan, Box::new(|_| {})).await.unwrap();
    let kubeconfig = proxy.manager_kubeconfig(control_plane, &Scope::Cluster).await.unwrap();
    let folder = control_plane.folder("lagging").unwrap();
    let options = manager::Options::new(testbed(), &kubeconfig, &folder).unwrap();
    let options = options.argument("--enforcement").argument("ignore");
    let options = in_namespace(control_plane, options, &fixture.namespace).await;
    let mut lagging = Manager::start(&options).await.unwrap();
    lagging.wait_ready().await.unwrap();
    let mut other = lagging.client().await.unwrap();

    fixture.create("web", 1).await;
    let generation = Some(fixture.set("web", 2).await.generation);
    let request =
        proto::SetDeploymentRequest { expected_generation: generation, ..fixture.set_request("web", 3) };
    assert_eq!(other.set_deployment(request).await.unwrap().into_inner().generation, 2);
    fixture.wait_for("web", |answer| answer.generation == 2).await;
    let generation = Some(fixture.set("web", 4).await.generation);
    let request = proto::DeleteDeploymentRequest {
        name: "web".to_owned(),
        namespace: fixture.namespace.clone(),
        expected_generation: generation,
        ..proto::DeleteDeploymentRequest::default()
    };
    other.delete_deployment(request).await.unwrap();
    // What it has deleted is not shown again by what the watch still has.
    let request = proto::GetDeploymentRequest {
        name: "web".to_owned(),
        namespace: fixture.namespace.clone(),
        ..proto::GetDeploymentRequest::default()
    };
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(7) {
        let read = other.get_deployment(request.clone()).await.unwrap().into_inner();
        assert_eq!(read.desired_replicas, None, "{read:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn an_outcome_that_stays_unknown_is_told() {
    let faults = Faults::default();
    let (mut fixture, _proxy) = with_faults(&faults).await;
    fixture.create("web", 1).await;
    faults.next(Fault::LoseAnswer, 1000);
    let started = Instant::now();
    let error = fixture.client.set_deployment(fixture.set_request("web", 2)).await.unwrap_err();
    assert_eq!(error.code(), tonic::Code::Unavailable, "{error:?}");
    assert!(error.message().contains("not known whether"), "{error:?}");
    println!("told after {:?}", started.elapsed());
    // It was stored, and reads say so.
    faults.settings.lock().unwrap().clear();
    fixture.wait_for("web", |answer| answer.desired_replicas == Some(2)).await;
}

#[tokio::test]
async fn statuses_survive_refusals() {
    let faults = Faults::default();
    let (mut fixture, _proxy) = with_faults(&faults).await;
    fixture.create_managed("web", 3).await;
    // The last one is repeated soonest.
    let statuses = [Fault::Cut, refuse(404, None), refuse(409, None), refuse(429, Some(1))];
    faults.statuses.lock().unwrap().extend(statuses);
    for count in 4..8 {
        fixture.scale("web", count).await;
        fixture.wait_for_count("web", 3).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    crate::fixture::eventually("the last drift is shown", async || {
        let status = fixture.object("web").await.unwrap().data["status"].clone();
        if status["lastDrift"]["to"] == 7 { Ok(()) } else { Err(status) }
    })
    .await;
    let read = fixture.get("web").await.unwrap();
    assert_eq!((read.generation, read.drift_count), (1, 4));
}
