//! Makes resource versions expire: the API server is restarted, as in an upgrade, after another write to the database.
//! Its new watch cache begins after the versions of existing watches, so it answers 410 and clients have to list again.

use std::time::Duration;

use anyhow::{Result, ensure};
use http::Request;
use replica_count_testbed::ControlPlane;
use tokio::time::{self, Instant};

use crate::etcd::Etcd;

/// How long a new listing may take.
const DEADLINE: Duration = Duration::from_mins(2);
const POLL: Duration = Duration::from_millis(500);

/// The metrics that count completed listings of Deployments: streamed and paginated.
const LISTINGS: [&str; 2] = ["apiserver_watch_list_duration_seconds_count{", "apiserver_request_total{"];

/// Makes watchers of all Deployments list them again; returns when a listing is complete.
pub(crate) async fn force(control_plane: &ControlPlane) -> Result<()> {
    control_plane.stop_api_server()?;
    // Any write will do, because versions are global in the database.
    Etcd::new(control_plane)?.write("replica-count-bench", Vec::new()).await?;
    control_plane.start_api_server().await?;
    let (client, deadline) = (control_plane.admin().await?, Instant::now() + DEADLINE);
    loop {
        let metrics = client.request_text(Request::get("/metrics").body(Vec::new())?).await?;
        if listings(&metrics) > 0 {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "there was no new listing within {DEADLINE:?}");
        time::sleep(POLL).await;
    }
}

/// The number of listings of Deployments that the API server has answered since its start.
fn listings(metrics: &str) -> u64 {
    let is_listing = |line: &&str| {
        line.contains(r#"resource="deployments""#)
            && (line.starts_with(LISTINGS[0])
                || line.starts_with(LISTINGS[1]) && line.contains(r#"verb="LIST""#))
    };
    let counts =
        metrics.lines().filter(is_listing).filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
    counts.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listings_of_deployments_count() {
        let streamed = r#"apiserver_watch_list_duration_seconds_count{group="apps",resource="deployments",scope="cluster",version="v1"} 2"#;
        let listed = r#"apiserver_request_total{code="200",resource="deployments",verb="LIST"} 3"#;
        let cases = [
            (streamed.to_owned(), 2),
            (listed.to_owned(), 3),
            (format!("{streamed}\n{listed}\n"), 5),
            (streamed.replace("deployments", "secrets"), 0),
            (listed.replace("LIST", "GET"), 0),
            (streamed.replace("_count", "_bucket"), 0),
            (String::new(), 0),
        ];
        for (metrics, expected) in cases {
            assert_eq!(listings(&metrics), expected, "{metrics}");
        }
    }
}
