//! Many clients set one target concurrently.

use std::fs;

use futures_util::future::join_all;
use replica_count_api::proto::SetDeploymentResponse;

use crate::fixture::Fixture;

const CLIENTS: i32 = 16;
const SETS: i32 = 20;

#[tokio::test]
async fn the_last_acknowledged_set_wins() {
    let mut fixture = Fixture::new().await;
    fixture.create("web", 1).await;
    let manager = &fixture.manager;
    let clients = join_all((0..CLIENTS).map(async |_| manager.client().await.unwrap())).await;
    let sets = clients.into_iter().zip(0..).map(|(mut client, n)| {
        let requests: Vec<_> = (0..SETS).map(|m| fixture.set_request("web", n * SETS + m)).collect();
        async move {
            let mut answers = Vec::new();
            for request in requests {
                answers.push(client.set_deployment(request).await.unwrap().into_inner());
            }
            answers
        }
    });
    let mut answers: Vec<SetDeploymentResponse> = join_all(sets).await.concat();

    // The generations are unique and without gaps.
    answers.sort_by_key(|answer| answer.generation);
    let generations: Vec<_> = answers.iter().map(|answer| answer.generation).collect();
    assert_eq!(generations, (1..=i64::from(CLIENTS * SETS)).collect::<Vec<_>>());
    let last = answers.last().unwrap();
    let answer = fixture.get("web").await.unwrap();
    assert_eq!((answer.desired_replicas, answer.generation), (last.new_replicas, last.generation));
    let file: serde_json::Value =
        serde_json::from_slice(&fs::read(fixture.options.store()).unwrap()).unwrap();
    let [entry] = file.as_array().unwrap().as_slice() else { panic!("{file}") };
    assert_eq!(
        (entry["replicas"].as_i64(), entry["generation"].as_i64()),
        (last.new_replicas.map(i64::from), Some(last.generation))
    );
    fixture.wait_for_count("web", last.new_replicas.unwrap()).await;
    assert_eq!(fixture.get("web").await.unwrap().drift_count, 0);

    let mut fixture = fixture.restart(async |_| {}).await;
    let answer = fixture.get("web").await.unwrap();
    assert_eq!((answer.desired_replicas, answer.generation), (last.new_replicas, last.generation));
}
