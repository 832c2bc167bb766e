//! Gauges of each managed target, read on each scrape. They put names of workloads on the plain port, so they are off
//! unless they are asked for, and there are at most so many.

use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use replica_count_core::conflict::ConflictState;
use replica_count_core::policy::Policy;
use replica_count_core::record::Record;
use replica_count_core::state::State;
use replica_count_core::target::Target;

use super::records::Records;
use crate::clock;
use crate::cluster::Cluster;
use crate::guards::Guards;
use crate::store::Store;

/// Gauges of each managed target.
#[derive(Debug)]
pub struct TargetMetrics {
    /// The desired state.
    pub store: Store,
    /// The observed state.
    pub cluster: Arc<Cluster>,
    /// The records of managed targets.
    pub records: Arc<Records>,
    /// The server-wide policy.
    pub policy: Arc<Policy>,
    /// What the API server keeps.
    pub guards: Arc<Guards>,
    /// How many targets are shown.
    pub limit: usize,
}

/// What is shown of a target.
struct Row {
    target: Target,
    desired: i32,
    /// `None`: not known, or there is no workload.
    current: Option<i32>,
    state: State,
}

impl Row {
    fn labels(&self) -> [(&'static str, &str); 3] {
        let target = &self.target;
        [("kind", target.kind().as_str()), ("namespace", target.namespace()), ("name", target.name())]
    }
}

impl TargetMetrics {
    /// The first targets, and how many more there are.
    fn rows(&self) -> (Vec<Row>, usize) {
        let now = clock::now();
        self.store.read(|settings| {
            let (view, records) = (self.cluster.view(), self.records.view());
            let (mut observation_of, mut record_of) = (view.observations(), records.ordered_lookup());
            let in_force =
                settings.iter().filter_map(|(target, setting)| Some((target, setting.at(now.wall)?)));
            let managed = in_force.clone().count();
            let rows = in_force.take(self.limit).map(|(target, setting)| {
                let observation = observation_of(target);
                let conflict = record_of(target).map_or(ConflictState::None, Record::conflict_state);
                let is_suspended = self.guards.is_suspended(target.namespace());
                let (policy, setting) = (&self.policy, &setting);
                let state =
                    State::of(target, Some(setting), observation, conflict, policy, is_suspended, now.wall);
                let current = observation.present().map(|observed| observed.replicas.get());
                Row { target: target.clone(), desired: setting.replicas.get(), current, state }
            });
            (rows.collect(), managed.saturating_sub(self.limit))
        })
    }
}

impl Collector for TargetMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let (rows, left_out) = self.rows();
        let mut show = |name: &str, help: &str, value: fn(&Row) -> Option<i32>| {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for row in &rows {
                if let Some(value) = value(row) {
                    ConstGauge::new(i64::from(value)).encode(family.encode_family(&row.labels())?)?;
                }
            }
            Ok::<_, std::fmt::Error>(())
        };
        show("target_desired", "The replica count that is stored for a workload.", |row| Some(row.desired))?;
        show(
            "target_current",
            "The replica count that a workload has, if it exists; with the same labels.",
            |row| row.current,
        )?;
        let help = "1 for the state of a workload, as ListDeployments calls it.";
        let mut info = encoder.encode_descriptor("target", help, None, MetricType::Info)?;
        for row in &rows {
            let [kind, namespace, name] = row.labels();
            info.encode_info(&[kind, namespace, name, ("state", row.state.as_str())])?;
        }
        let help =
            "Workloads that are not shown one by one, because there are more than --target-metrics-limit.";
        let left_out = ConstGauge::new(i64::try_from(left_out).unwrap_or(i64::MAX));
        left_out.encode(encoder.encode_descriptor("targets_left_out", help, None, MetricType::Gauge)?)
    }
}
