//! Many clients set one target at once.

use std::fs;

use futures_util::future::join_all;
use replica_count_api::proto::SetDeploymentResponse;

use crate::scene::Scene;

const CLIENTS: i32 = 16;
const SETS: i32 = 20;

#[tokio::test]
async fn the_last_acknowledged_set_wins() {
    let mut scene = Scene::new().await;
    scene.create("web", 1).await;
    let manager = &scene.manager;
    let clients = join_all((0..CLIENTS).map(async |_| manager.client().await.unwrap())).await;
    let sets = clients.into_iter().zip(0..).map(|(mut client, n)| {
        let requests: Vec<_> = (0..SETS).map(|m| scene.set_request("web", n * SETS + m)).collect();
        async move {
            let mut answers = Vec::new();
            for request in requests {
                answers.push(client.set_deployment(request).await.unwrap().into_inner());
            }
            answers
        }
    });
    let mut answers: Vec<SetDeploymentResponse> = join_all(sets).await.concat();

    // Each has a generation of its own, and none is left out.
    answers.sort_by_key(|answer| answer.generation);
    let generations: Vec<_> = answers.iter().map(|answer| answer.generation).collect();
    assert_eq!(generations, (1..=i64::from(CLIENTS * SETS)).collect::<Vec<_>>());
    let last = answers.last().unwrap();
    let answer = scene.get("web").await.unwrap();
    assert_eq!((answer.desired_replicas, answer.generation), (last.new_replicas, last.generation));
    let file: serde_json::Value = serde_json::from_slice(&fs::read(scene.options.store()).unwrap()).unwrap();
    let [entry] = file.as_array().unwrap().as_slice() else { panic!("{file}") };
    assert_eq!(
        (entry["replicas"].as_i64(), entry["generation"].as_i64()),
        (last.new_replicas.map(i64::from), Some(last.generation))
    );
    scene.until_count("web", last.new_replicas.unwrap()).await;
    assert_eq!(scene.get("web").await.unwrap().drift_count, 0);

    let mut scene = scene.restart(async |_| {}).await;
    let answer = scene.get("web").await.unwrap();
    assert_eq!((answer.desired_replicas, answer.generation), (last.new_replicas, last.generation));
}
