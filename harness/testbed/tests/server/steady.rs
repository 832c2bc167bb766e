//! Somebody changes a count again and again, too slowly to be damped: that is reported, and no repair is delayed.

use std::time::Duration;

use replica_count_api::proto::{self, DeploymentState};
use tokio::time::{self, Instant};

use crate::fixture::{Fixture, SOMEBODY};

/// The rhythm of the opponent: ten rounds of it are within the budget of immediate repairs.
const PERIOD: Duration = Duration::from_secs(3);

/// Within how many rounds the opponent must be noticed.
const ROUNDS: i64 = 10;

/// How long a repair may take on a busy machine; the shortest delay is 5 seconds.
const IMMEDIATE: Duration = Duration::from_secs(2);

#[tokio::test]
async fn an_opponent_with_a_rhythm_is_noticed_within_ten_rounds_and_never_delayed() {
    let mut fixture = Fixture::new().await;
    fixture.create_managed("web", 3).await;
    let mut ticks = time::interval(PERIOD);
    let mut noticed = None;
    for round in 1..=ROUNDS {
        ticks.tick().await;
        let drifted = Instant::now();
        fixture.scale("web", 7).await;
        let answer = fixture
            .wait_for("web", |answer| {
                answer.drift_count == round && answer.state() == DeploymentState::InSync
            })
            .await;
        assert!(drifted.elapsed() < IMMEDIATE, "round {round}: repaired after {:?}", drifted.elapsed());
        assert_eq!(answer.contest, None, "round {round}");
        noticed = noticed.or(answer.steady_conflict.is_some().then_some(round));
    }
    assert!(noticed.is_some_and(|round| round > 1), "noticed in round {noticed:?}");

    let conflict = fixture.get("web").await.unwrap().steady_conflict.unwrap();
    assert_eq!((conflict.by.as_str(), conflict.likely_by.as_str()), (SOMEBODY, ""));
    assert_eq!(conflict.rounds, ROUNDS);
    let period = Duration::try_from(conflict.period.unwrap()).unwrap();
    assert!(period.abs_diff(PERIOD) < Duration::from_secs(1), "{period:?}");

    let request = proto::ListDeploymentsRequest { name: "web".to_owned(), ..Default::default() };
    let rows = fixture.client.list_deployments(request).await.unwrap().into_inner();
    let row = &rows.deployments_replica_config[0];
    assert_eq!((row.state(), row.steady_conflict.as_ref()), (DeploymentState::InSync, Some(&conflict)));
    let metrics = fixture.manager.metrics().await.unwrap();
    for gauge in ["steady_conflicts 1.0", "contested_targets 0.0"] {
        assert!(metrics.contains(&format!("replica_count_manager_{gauge}\n")), "{metrics}");
    }
    let lines: Vec<_> =
        fixture.manager.log().into_iter().filter(|line| line.contains("\"steady conflict\"")).collect();
    assert!(matches!(&lines[..], [line] if line.contains(SOMEBODY)), "{lines:#?}");
}

#[tokio::test]
async fn who_hides_behind_a_zero_is_suspected() {
    let mut fixture = Fixture::new().await;
    fixture.create_managed("web", 3).await;
    let drift = async |replicas, times| {
        fixture.scale("web", replicas).await;
        let answer = fixture
            .wait_for("web", |answer| {
                answer.drift_count == times && answer.state() == DeploymentState::InSync
            })
            .await;
        let drift = answer.last_drift.unwrap();
        (drift.by, drift.likely_by)
    };
    let unknown = String::new;
    assert_eq!(drift(0, 1).await, (unknown(), unknown()), "nobody is known");

    assert_eq!(drift(7, 2).await, (SOMEBODY.to_owned(), unknown()));
    assert_eq!(drift(0, 3).await, (unknown(), SOMEBODY.to_owned()));

    fixture.autoscale("autoscaler", "web", 1).await;
    fixture.wait_for_state("web", DeploymentState::Autoscaled).await;
    fixture.scale("web", 0).await;
    let answer = fixture.wait_for("web", |answer| answer.drift_count == 4).await;
    let drift = answer.last_drift.unwrap();
    assert_eq!((drift.by, drift.likely_by.as_str()), (unknown(), "HorizontalPodAutoscaler/autoscaler"));
}
