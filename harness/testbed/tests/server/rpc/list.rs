//! ListDeployments: filters, order and pages.

use replica_count_api::proto::{
    DeploymentState, DeploymentsReplicaConfig, DeploymentsReplicaConfigs, ListDeploymentsRequest,
    SetDeploymentRequest,
};

use crate::fixture::{Fixture, eventually};

/// Namespace, name, desired and current count, state.
type Row<'a> = (&'a str, &'a str, Option<i32>, Option<i32>, DeploymentState);

fn row(row: &DeploymentsReplicaConfig) -> Row<'_> {
    (&row.namespace, &row.name, row.replicas, row.current_replicas, row.state())
}

fn key(row: &DeploymentsReplicaConfig) -> (String, String) {
    (row.namespace.clone(), row.name.clone())
}

/// Two namespaces, in order, with managed, missing and unmanaged Deployments.
async fn two_namespaces() -> (Fixture<'static>, [String; 2]) {
    let mut fixture = Fixture::new().await;
    let other = fixture.control_plane.namespace("test").await.unwrap();
    let mut namespaces = [fixture.namespace.clone(), other];
    namespaces.sort();
    let [first, second] = &namespaces;
    for (namespace, name, replicas) in [(second, "web", 0), (first, "web", 3), (first, "other", 1)] {
        fixture.control_plane.deployment(namespace, name, replicas).await.unwrap();
    }
    for (namespace, name, replicas) in [(second, "web", 0), (first, "web", 3), (first, "early", 2)] {
        let request = SetDeploymentRequest {
            namespace: namespace.clone(),
            name: name.to_owned(),
            replicas: Some(replicas),
            allow_missing: true,
            ..SetDeploymentRequest::default()
        };
        fixture.client.set_deployment(request).await.unwrap();
    }
    (fixture, namespaces)
}

async fn list(fixture: &Fixture<'_>, request: ListDeploymentsRequest) -> DeploymentsReplicaConfigs {
    fixture.client.clone().list_deployments(request).await.unwrap().into_inner()
}

#[tokio::test]
async fn rows_are_sorted_and_filtered() {
    let (fixture, [first, second]) = two_namespaces().await;
    let early: Row<'_> = (&first, "early", Some(2), None, DeploymentState::Missing);
    let web: Row<'_> = (&first, "web", Some(3), Some(3), DeploymentState::InSync);
    let other: Row<'_> = (&first, "other", None, Some(1), DeploymentState::Unmanaged);
    let idle: Row<'_> = (&second, "web", Some(0), Some(0), DeploymentState::InSync);
    let check = async |namespace: &str, name: &str, include_unmanaged: bool, expected: &[Row<'_>]| {
        let request = ListDeploymentsRequest {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            include_unmanaged,
            ..ListDeploymentsRequest::default()
        };
        eventually(&format!("{request:?} lists {expected:?}"), async || {
            let answer = list(&fixture, request.clone()).await;
            assert_eq!((answer.next_page_token.as_str(), answer.observed_age), ("", None));
            let rows: Vec<_> = answer.deployments_replica_config.iter().map(row).collect();
            if rows == expected { Ok(()) } else { Err(answer) }
        })
        .await;
    };
    check("", "", false, &[early, web, idle]).await;
    check(&first, "", false, &[early, web]).await;
    check(&second, "", false, &[idle]).await;
    check("", "web", false, &[web, idle]).await;
    check(&first, "web", false, &[web]).await;
    check(&first, "other", false, &[]).await;
    check("nowhere", "", false, &[]).await;
    check(&first, "", true, &[early, other, web]).await;
    check(&first, "other", true, &[other]).await;
    check(&second, "", true, &[idle]).await;
    check("nowhere", "", true, &[]).await;
    // Other tests have Deployments, too, but this server does not manage them.
    let all = list(&fixture, ListDeploymentsRequest { include_unmanaged: true, ..Default::default() }).await;
    let ours =
        all.deployments_replica_config.iter().filter(|row| [&first, &second].contains(&&row.namespace));
    assert_eq!(ours.map(row).collect::<Vec<_>>(), [early, other, web, idle]);
}

/// Reads all pages.
async fn walk(fixture: &Fixture<'_>, first: ListDeploymentsRequest) -> Vec<Vec<DeploymentsReplicaConfig>> {
    let mut pages = Vec::new();
    let mut request = first;
    loop {
        let answer = list(fixture, request.clone()).await;
        pages.push(answer.deployments_replica_config);
        if answer.next_page_token.is_empty() {
            return pages;
        }
        assert_ne!(answer.next_page_token, request.page_token, "the page token does not advance");
        request.page_token = answer.next_page_token;
    }
}

#[tokio::test]
async fn pages_have_every_row_exactly_once() {
    let (fixture, [first, _]) = two_namespaces().await;
    let everything = ListDeploymentsRequest { include_unmanaged: true, ..Default::default() };
    for (request, total) in [
        (ListDeploymentsRequest::default(), 3),
        (ListDeploymentsRequest { namespace: first.clone(), ..everything.clone() }, 3),
        (ListDeploymentsRequest { name: "web".to_owned(), ..Default::default() }, 2),
        (ListDeploymentsRequest { namespace: "nowhere".to_owned(), ..Default::default() }, 0),
    ] {
        let whole = eventually("all are seen", async || {
            let rows = list(&fixture, request.clone()).await.deployments_replica_config;
            if rows.len() == total { Ok(rows) } else { Err(rows) }
        })
        .await;
        for size in 1..=4 {
            let request = ListDeploymentsRequest { page_size: size, ..request.clone() };
            let pages = walk(&fixture, request.clone()).await;
            let size = usize::try_from(size).unwrap();
            assert_eq!(pages.len(), total.div_ceil(size).max(1), "{request:?}");
            assert!(pages.iter().all(|page| page.len() <= size), "{request:?}");
            let keys = |rows: &[DeploymentsReplicaConfig]| rows.iter().map(key).collect::<Vec<_>>();
            assert_eq!(keys(&pages.concat()), keys(&whole), "{request:?}");
        }
    }
    // Deployments of other tests come and go meanwhile, so only the order of all rows is known.
    let rows = walk(&fixture, ListDeploymentsRequest { page_size: 2, ..everything }).await.concat();
    assert!(rows.is_sorted_by(|a, b| key(a) < key(b)), "{rows:?}");
    let ours = rows.iter().filter(|row| row.namespace == first).count();
    assert_eq!(ours, 3);
}

#[tokio::test]
async fn the_next_page_continues_after_a_deleted_row() {
    let mut fixture = Fixture::new().await;
    for name in ["a", "b", "c"] {
        fixture.create(name, 1).await;
        fixture.set(name, 1).await;
    }
    let request = ListDeploymentsRequest { page_size: 2, ..Default::default() };
    let page_token = list(&fixture, request.clone()).await.next_page_token;
    fixture.delete_setting("b").await;
    let rest = list(&fixture, ListDeploymentsRequest { page_token, ..request }).await;
    let names: Vec<_> = rest.deployments_replica_config.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(names, ["c"]);
}
